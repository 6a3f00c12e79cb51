"""From phase to gray: the only place where a phase becomes levels of the spatial light modulator.

A mask is pattern + correction + grating, summed as phase, wrapped once and rounded once. Rounding each part
by itself, wrapping modulo ``levels + 1`` or letting uint8 overflow are the mistakes found in the field's
packages; each leaves errors of a gray level or more.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stedalign.errors import InputError
from stedalign.instrument.protocols import Levels
from stedalign.optics.patterns import Pattern
from stedalign.optics.wavefront import Wavefront
from stedalign.spec import Spec

Floats = NDArray[np.float64]


class SlmGeometry(Spec):
    """Where the pupil lies on the panel, how it is turned there, and what one gray level means."""

    rows: int = Field(600, ge=1, le=10_000)
    """Rows of the panel."""
    columns: int = Field(792, ge=2, le=10_000)
    """Columns of the panel."""
    pixel_um: float = Field(12.5, gt=0, le=1000)
    """Pitch of the panel's pixels."""
    half: Literal["left", "right", "full"] = "left"
    """The part of the panel that the depletion beam uses; the rest shows level 0."""
    pupil_center_px: tuple[float, float] | None = None
    """Pupil center (column, row) on the panel, counted from the center of the first pixel; none = the
    middle of the used part."""
    pupil_radius_px: float = Field(67.2, gt=1, le=10_000)
    """Pupil radius on the panel: back aperture / magnification / 2 / pitch = 5.04 mm / 3 / 2 / 12.5 um."""
    rotation_deg: float = Field(0.0, ge=-180, le=180)
    """Angle that turns the panel's axes, after the flips, onto the pupil's, counted from +x to +y."""
    flip_x: bool = False
    """Whether the pupil's x runs against the panel's columns."""
    flip_y: bool = False
    """Whether the pupil's y runs against the panel's rows."""
    levels_per_2pi: float = Field(218.0, ge=2, le=256)
    """Gray levels for one wave of phase at the depletion wavelength; may be fractional."""
    grating_period_px: tuple[float, float] = (0.0, 0.0)
    """Period (x, y) of the blazed grating in panel pixels, its sign the direction of the slope; 0 = none."""

    @model_validator(mode="after")
    def _fits_the_panel(self) -> SlmGeometry:
        for period in self.grating_period_px:
            if period != 0 and not 2 <= abs(period) <= 1e6:
                raise InputError(
                    f"grating_period_px {self.grating_period_px} must be 0 or at least 2 pixels, at most 1e6"
                )
        first, last = self.used_columns
        (column, row), radius = self.center_px, self.pupil_radius_px
        inside = (
            column - radius >= first - 0.5
            and column + radius <= last + 0.5
            and row - radius >= -0.5
            and row + radius <= self.rows - 0.5
        )
        if not inside:
            raise InputError(
                f"a pupil of radius {radius} px around (column, row) = ({column}, {row}) does not lie on the "
                f"used part of the panel: columns {first} to {last}, rows 0 to {self.rows - 1}"
            )
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the panel."""
        return self.rows, self.columns

    @property
    def used_columns(self) -> tuple[int, int]:
        """First and last column of the used part."""
        middle = self.columns // 2
        return {"left": (0, middle - 1), "right": (middle, self.columns - 1), "full": (0, self.columns - 1)}[self.half]

    @property
    def center_px(self) -> tuple[float, float]:
        """Pupil center (column, row)."""
        if self.pupil_center_px is not None:
            return self.pupil_center_px
        first, last = self.used_columns
        return (first + last) / 2, (self.rows - 1) / 2


def to_pupil(geometry: SlmGeometry, column: Floats, row: Floats) -> tuple[Floats, Floats]:
    """Pupil coordinates (x, y) in pupil radii of panel positions in pixels; any shape.

    In this order: subtract the pupil center, divide by the radius, flip, then turn by ``rotation_deg`` from
    +x to +y.
    """
    center_column, center_row = geometry.center_px
    u = (column - center_column) / geometry.pupil_radius_px * (-1 if geometry.flip_x else 1)
    v = (row - center_row) / geometry.pupil_radius_px * (-1 if geometry.flip_y else 1)
    angle = np.deg2rad(geometry.rotation_deg)
    return u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)


def to_panel(geometry: SlmGeometry, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Panel positions (column, row) in pixels of pupil coordinates in pupil radii; inverts ``to_pupil``."""
    angle = np.deg2rad(geometry.rotation_deg)
    u = (x * np.cos(angle) + y * np.sin(angle)) * (-1 if geometry.flip_x else 1)
    v = (y * np.cos(angle) - x * np.sin(angle)) * (-1 if geometry.flip_y else 1)
    center_column, center_row = geometry.center_px
    return center_column + u * geometry.pupil_radius_px, center_row + v * geometry.pupil_radius_px


@lru_cache(maxsize=4)
def pupil_coordinates(geometry: SlmGeometry) -> tuple[Floats, Floats]:
    """Pupil coordinates (x, y) in pupil radii of every panel pixel's center, each (rows, columns)."""
    row, column = np.meshgrid(np.arange(geometry.rows, dtype=float), np.arange(geometry.columns), indexing="ij")
    x, y = to_pupil(geometry, column, row)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def grating_waves(geometry: SlmGeometry, column: Floats, row: Floats) -> Floats:
    """Phase of the blazed grating in waves at panel positions in pixels, 0 at the pupil center; any shape."""
    waves = np.zeros(np.broadcast_shapes(np.shape(column), np.shape(row)))
    for position, center, period in zip((column, row), geometry.center_px, geometry.grating_period_px, strict=True):
        if period:
            waves = waves + (position - center) / period
    return waves


def mask_levels(
    geometry: SlmGeometry,
    pattern: Pattern,
    correction: Wavefront,
    flatness_levels: Floats | Levels | None = None,
) -> Levels:
    """The finished gray image (rows, columns) for one pattern and one correction.

    phase = pattern + 2 pi x correction + grating, in levels, plus ``flatness_levels`` (rows, columns),
    wrapped once modulo ``levels_per_2pi`` and rounded; what rounds to a full wave is level 0. Tip, tilt and
    defocus are modes of the correction like any other. Pattern and grating fill the used part of the panel;
    the correction ends with the last pixel that the pupil touches, since polynomials grow without bound. The
    result depends on nothing but the arguments, so a write can be repeated.

    Raises ``InputError`` when the flatness map does not fit the panel or is not finite.
    """
    x, y = pupil_coordinates(geometry)
    first, last = geometry.used_columns
    used = np.s_[:, first : last + 1]
    x, y = x[used], y[used]
    waves = pattern.phase(x, y) / (2 * np.pi)
    # Half a pixel's diagonal: a pixel centered just outside still lights the rim of the pupil.
    lit = np.hypot(x, y) <= 1 + np.sqrt(0.5) / geometry.pupil_radius_px
    waves[lit] += correction.modes.polynomials(x[lit], y[lit]) @ correction.array
    waves += grating_waves(geometry, np.arange(first, last + 1.0)[None], np.arange(float(geometry.rows))[:, None])

    exact = waves * geometry.levels_per_2pi
    if flatness_levels is not None:
        if np.shape(flatness_levels) != geometry.shape or not np.isfinite(flatness_levels).all():
            raise InputError(
                f"a flatness map needs finite levels of the panel's shape {geometry.shape}, "
                f"got the shape {np.shape(flatness_levels)}"
            )
        exact = exact + flatness_levels[used]
    rounded = np.rint(np.mod(exact, geometry.levels_per_2pi))
    rounded[rounded >= geometry.levels_per_2pi] = 0

    levels = np.zeros(geometry.shape, dtype=np.uint8)
    levels[used] = rounded.astype(np.uint8)
    return levels
