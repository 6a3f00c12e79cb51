"""Whether a picture can be estimated, and whether an estimate can be trusted; if not, why, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stedalign.estimation.centering import displacement_nm
from stedalign.imaging.sections import PLANES, OrthoSections
from stedalign.optics.spec import Spec

Floats = NDArray[np.float64]
CUT_OFF = 0.46
"""How far from the middle a whole donut's center of mass may lie, over half of the picture's width.

Over 2 um it lies within 0.41 even at 360 mλ, and beyond 0.52 where the donut's middle is near an edge."""


class PictureError(ValueError):
    """A picture that no estimate can be made from, with the reason and what to do about it."""


class Limits(Spec):
    """When an estimate is trusted."""

    min_reduced_chi2: float = Field(0.7, ge=0, lt=1)
    """Below this the numbers are no photon counts, and the error bars would be wrong."""
    max_reduced_chi2: float = Field(1.15, gt=1)
    """Above this, and what noise explains, the model does not explain the picture."""
    max_rms_waves: float = Field(0.5, gt=0)
    """Above this the wavefront is beyond what the model was built for, and the estimate is refused."""
    max_sigma_waves: float = Field(0.03, gt=0)
    """Above this the picture is too dim to tell the wavefront."""


def check_picture(sections: OrthoSections, saturation: float | None = None, read_noise: float = 0.0) -> None:
    """Raise ``PictureError`` where the picture is clipped, empty or no raw picture.

    Clipped: at the known saturation level, or, whatever the level, 0.3 % of all pixels sharing the maximum. Empty:
    the means of 4x4 blocks scatter no more than the noise of single pixels, read off neighboring differences,
    allows; that needs no gain.
    """
    data = sections.data
    levels = [level for level in (sections.saturation, saturation) if level is not None]
    level = min(levels, default=None)
    if data.max() == data.min():
        raise PictureError("the picture is empty: every pixel has the same value")
    if data.min() < -8 * read_noise:
        raise PictureError(f"counts below zero ({data.min():g}): give the raw picture, without background subtracted")
    clipped = int((data >= level).sum()) if level is not None else 0
    if clipped:
        raise PictureError(
            f"the picture is saturated: {clipped} pixels at {level:g} counts; lower the laser power or gain"
        )
    if shared := _at_a_ceiling(data):
        raise PictureError(
            f"the picture looks saturated: {shared} pixels share the highest value, {data.max():g}; "
            "lower the laser power or gain"
        )
    for name, section in zip(PLANES, data, strict=True):
        size = section.shape[0] // 4 * 4
        blocks = section[:size, :size].reshape(size // 4, 4, size // 4, 4).mean(axis=(1, 3))
        noise = np.square(np.diff(section, axis=1)).mean() / 2
        if blocks.var() * 16 < 2 * noise:
            raise PictureError(f"the {name} section is empty: no focus stands out of its noise; find the bead first")


def cut_off(sections: OrthoSections) -> str:
    """Which end of the picture cuts the bead off, in words; empty if none does."""
    for axis, place, pixel in zip("xyz", displacement_nm(sections), sections.pixel_nm, strict=True):
        if abs(place) > CUT_OFF * pixel * sections.data.shape[1] / 2:
            side = "+" if place > 0 else "-"
            return f"the bead is cut off at the {side}{axis} edge of the picture: move it to the middle"
    return ""


def _at_a_ceiling(data: Floats) -> int:
    """How many pixels share the highest value, where that is more than the values just below let expect; else 0."""
    highest = data.max()
    shared = int((data == highest).sum())
    below = int(((data < highest) & (data >= 0.8 * highest)).sum())
    if (data == np.rint(data)).all():
        expected = below / max(1.0, 0.2 * highest)
        most = 5 + 4 * expected + 4 * np.sqrt(expected)
    else:
        # Pictures without noise share their highest value with a few mirror images of it.
        most = max(24, 0.003 * data.size)
    crowded = shared > most and highest > 2 * np.median(data)
    return shared if crowded else 0
