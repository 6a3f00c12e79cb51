"""Everything that may differ from one image of a setup to the next, beside the wavefront: a table, one row for each.

A new parameter is a row here, and its physics where the focus is computed. What a row says about who has it and how
far it may deviate is what the focus accepts, what a fit leaves free, and what is drawn for training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from stedalign.optics.beam import Beam
from stedalign.optics.detection import OPEN, Detection

Kind = Literal["place", "beam", "image", "detection", "light"]

FARTHEST_CORE = 0.8
"""Pupil radii: nearer to the edge the rays around the mask's core become too uneven for a rule of sensible size."""


LARGEST_PIXEL_ERROR = 0.4
"""Of the pixel size along any axis, as a fraction."""


def _zero(beam: Beam, detection: Detection) -> float:
    return 0.0


def _one(beam: Beam, detection: Detection) -> float:
    return 1.0


def _nothing(beam: Beam) -> str:
    return ""


def _as_it_is(amount: float, nominal: float) -> float:
    return amount


@dataclass(frozen=True)
class Parameter:
    """One number of an image, or of each of its parts."""

    name: str
    unit: str
    meaning: str
    kind: Kind
    """place: moves the image; beam, image, detection: free where asked for, detection in the forward model alone, for a
    focus does not know who looks at it; light: counts."""
    of_each_part: bool = False
    """Whether each part of an image, such as a section, has its own."""
    axis: str = ""
    """The axis that an image has to resolve to tell it; none where all images do."""
    nominal: Callable[[Beam, Detection], float] = _zero
    """Its value where all is as the setup says."""
    lacking: Callable[[Beam], str] = _nothing
    """Why a beam does not have it, to be read after its name; empty where it has."""
    limit: float = math.inf
    """Largest deviation from the nominal value that the focus follows."""
    room: Callable[[Beam], float] | None = None
    """The same where it depends on the beam; 0 where there is none."""
    plausible: float = math.inf
    """Deviation beyond which no instrument is that anyone would align."""
    lowest: float = -math.inf
    """What physics allows."""
    setting: str = ""
    """What a table of settings calls the amount that it may deviate by."""
    deviation: Callable[[float, float], float] = _as_it_is
    """From that amount, and the nominal value, to this parameter's unit."""

    @property
    def label(self) -> str:
        """The name as words."""
        return self.name.replace("_", " ")

    def largest(self, beam: Beam) -> float:
        """Largest deviation in a beam, where its like along the other axis deviates as far; 0 if it lacks it."""
        if self.lacking(beam):
            return 0.0
        return self.limit if self.room is None else self.room(beam)

    def bounds(self, nominal: float, reach: float) -> tuple[float, float]:
        """The lowest and the highest value when it may deviate by ``reach`` from the ``nominal`` one."""
        # A setup may start below what physics calls the lowest; nothing forces it up.
        return max(nominal - reach, min(nominal, self.lowest)), nominal + reach


def room_for_offsets(beam: Beam) -> float:
    """How far the offset of a beam's masks may deviate along x and y alike, in pupil radii; 0 where it may not."""
    return min(_room_around(beam, part.pattern.core) for part in beam.components)


def _room_around(beam: Beam, core: tuple[float, float]) -> float:
    x, y = (abs(part) for part in core)
    # Of (x + room)^2 + (y + room)^2 = limit^2 the positive root, and a little less.
    left = (0.99 * farthest_core(beam)) ** 2 - x**2 - y**2
    return 0.0 if left <= 0 else (math.sqrt((x + y) ** 2 + 2 * left) - x - y) / 2


def farthest_core(beam: Beam) -> float:
    """How far the core of a beam's mask may lie from the pupil's center, in pupil radii."""
    return beam.stop_radius or FARTHEST_CORE


def _taper(beam: Beam, detection: Detection) -> float:
    return beam.taper


def _fill_center(axis: int) -> Callable[[Beam, Detection], float]:
    return lambda beam, detection: beam.fill_center[axis]


def _mask_offset(axis: int) -> Callable[[Beam, Detection], float]:
    return lambda beam, detection: beam.pattern.core[axis]


def _pinhole(beam: Beam, detection: Detection) -> float:
    return detection.inverse_pinhole_cubed


def _of_several(beam: Beam) -> str:
    return "" if len(beam.components) == 1 else "is not supported for a beam of several components"


def _without_a_mask(beam: Beam) -> str:
    movable = any(part.pattern.can_move for part in beam.components)
    return "" if movable else "would change nothing in this beam"


def _square(amount: float, nominal: float) -> float:
    return amount**2


def _leak(ellipticity_deg: float, nominal: float) -> float:
    return math.tan(math.radians(ellipticity_deg))


def _narrower(amount: float, nominal: float) -> float:
    return (nominal ** (1 / 3) + amount) ** 3 - nominal


MASK_OFFSETS = "mask_offset_x", "mask_offset_y"
HALVES_OFFSETS, HALVES_TILTS = ("halves_offset_x", "halves_offset_y"), ("halves_tilt_x", "halves_tilt_y")
FILL_CENTERS = "fill_center_x", "fill_center_y"
LEAKS = "leak_real", "leak_imaginary"
TAPER, BLUR, BEAD, EZ_WEIGHT = "taper", "blur_nm2", "bead_larger_nm", "ez_weight"
LAYER, PINHOLE = "index_layer_nm", "inverse_pinhole_cubed"
SHEARS = "shear_x", "shear_y"
PIXEL_ERRORS = "pixel_error_x", "pixel_error_y", "pixel_error_z"
SHIFTS = "shift_x", "shift_y", "shift_z"
DRIFTS = "drift_x", "drift_y", "drift_z"
SCALE, BACKGROUND = "scale", "background"
UNEVENNESS = "unevenness_across", "unevenness_down", "unevenness_across2", "unevenness_both", "unevenness_down2"
"""Of the background: its terms x, y, x² - 1/3, x y, y² - 1/3 of columns x and rows y, from -1 to 1 over a section."""

_ROWS = (
    *(Parameter(name, "nm", f"displacement of the image along {name[-1]}", "place") for name in SHIFTS),
    *(
        Parameter(name, "nm", f"further displacement of a part of the image along {name[-1]}", "place", True)
        for name in DRIFTS
    ),
    Parameter(
        BLUR,
        "nm²",
        "variance along each axis of a Gaussian blur, as from vibration",
        "image",
        limit=1e4,
        plausible=60.0**2,
        lowest=0.0,
        setting="blur_nm",
        deviation=_square,
    ),
    # It acts much as a blur does: the variance of a ball is a fifth of its squared radius.
    Parameter(
        BEAD,
        "nm",
        "how much larger the bead's diameter is than the setup says",
        "image",
        limit=200.0,
        plausible=60.0,
        setting="bead_diameter_nm",
    ),
    *(
        Parameter(
            name,
            "1",
            f"fraction by which the pixels along {axis} are larger than the setup says",
            "image",
            axis=axis,
            limit=LARGEST_PIXEL_ERROR,
            plausible=most,
            setting=setting,
        )
        for name, axis, most, setting in zip(
            PIXEL_ERRORS,
            "xyz",
            (0.06, 0.06, LARGEST_PIXEL_ERROR),
            ("pixel_error", "pixel_error", "z_scale"),
            strict=True,
        )
    ),
    *(
        Parameter(
            name,
            "1",
            f"displacement of the image along {name[-1]} for each nm of z, where the scan's axis leans",
            "image",
            axis="z",
            limit=0.2,
            plausible=0.05,
            setting="shear",
        )
        for name in SHEARS
    ),
    # A small bead answers to Ez as a dipole along the axis, which shines to the sides and less into an objective
    # (Jackson 1999, section 9.2).
    Parameter(
        EZ_WEIGHT,
        "1",
        "how strongly the detection weighs |Ez|² against |Ex|² + |Ey|²",
        "image",
        nominal=_one,
        limit=1.0,
        plausible=0.6,
        lowest=0.0,
        setting="ez_weight",
    ),
    Parameter(
        LAYER,
        "nm",
        "thickness of a layer of another index before the focus, as of the film that beads lie in",
        "image",
        limit=2000.0,
        plausible=500.0,
        setting="index_layer_nm",
    ),
    # With a taper below 0 a beam would be brightest at its edge.
    Parameter(
        TAPER,
        "1",
        "1 / fill²: how fast the amplitude falls towards the pupil's edge",
        "beam",
        nominal=_taper,
        plausible=1.6,
        lowest=0.0,
        setting="taper",
    ),
    *(
        Parameter(
            name,
            "pupil radii",
            f"the beam's center against the pupil's along {name[-1]}",
            "beam",
            nominal=_fill_center(axis),
            plausible=0.2,
            setting="fill_center",
        )
        for axis, name in enumerate(FILL_CENTERS)
    ),
    # A leak of tan(5 degrees) makes circular light fall short of its ellipticity by 5 degrees, its phase turns the
    # ellipse.
    *(
        Parameter(
            name,
            "1",
            f"{name[5:]} part of the amplitude of light in the orthogonal polarization, for one of the beam's own",
            "beam",
            lacking=_of_several,
            plausible=0.25,
            setting="ellipticity_deg",
            deviation=_leak,
        )
        for name in LEAKS
    ),
    *(
        Parameter(
            name,
            "pupil radii",
            f"where the mask lies on the pupil along {name[-1]}; one in an overlay moves along with it",
            "beam",
            nominal=_mask_offset(axis),
            lacking=_without_a_mask,
            room=room_for_offsets,
            plausible=0.25,
            setting="mask_offset",
        )
        for axis, name in enumerate(MASK_OFFSETS)
    ),
    # From two halves of a panel: x light from the one, y light from the other.
    *(
        Parameter(
            name,
            "pupil radii",
            f"further offset of the mask along {name[-1]} for light polarized along x, its opposite for that along y",
            "beam",
            lacking=_without_a_mask,
            room=room_for_offsets,
            plausible=0.2,
            setting="halves_offset",
        )
        for name in HALVES_OFFSETS
    ),
    *(
        Parameter(
            name,
            "waves at the pupil's edge",
            f"tilt along {name[-1]} of the light polarized along x, its opposite for that along y",
            "beam",
            limit=1.0,
            plausible=0.3,
            setting="halves_tilt",
        )
        for name in HALVES_TILTS
    ),
    # What a wide pinhole takes away grows with the inverse cube of its width, in which the image is smooth at 0.
    Parameter(
        PINHOLE,
        "1/AU³",
        "cube of the Airy disk's diameter over the pinhole's",
        "detection",
        nominal=_pinhole,
        plausible=8.0,
        lowest=0.0,
        setting="pinhole",
        deviation=_narrower,
    ),
    Parameter(
        SCALE, "counts", "what the unaberrated crest gives in a part of the image, with an open pinhole", "light", True
    ),
    Parameter(BACKGROUND, "counts", "of each pixel of a part of the image", "light", True),
    *(
        Parameter(name, "counts", "how the background changes over a section, in the mean by nothing", "light", True)
        for name in UNEVENNESS
    ),
)
PARAMETERS = {row.name: row for row in _ROWS}
"""All of them by name, in the order in which free ones follow each other."""
BEAM_PARAMETERS = tuple(row.name for row in _ROWS if row.kind == "beam")
IMAGE_PARAMETERS = tuple(row.name for row in _ROWS if row.kind == "image")
DETECTION_PARAMETERS = tuple(row.name for row in _ROWS if row.kind == "detection")


def nominal(beam: Beam, name: str, detection: Detection = OPEN) -> float:
    """The value of a parameter where all is as the setup says."""
    return PARAMETERS[name].nominal(beam, detection)


def free_deviations(
    settings: Mapping[str, float], beam: Beam, axes: str = "xyz", detection: Detection = OPEN
) -> dict[str, float]:
    """How far each parameter deviates by ``settings``, in its own unit, of those that may differ between images.

    Of those that this beam has, in an image that resolves ``axes``; without what the settings leave out or call 0.
    """
    return {
        row.name: row.deviation(settings[row.setting], row.nominal(beam, detection))
        for row in _ROWS
        if settings.get(row.setting, 0.0) > 0 and row.axis in axes and row.largest(beam) > 0
    }
