"""What beside the wavefront is off, in words that tell what to turn: read off the fitted nuisances of an estimate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stedalign.optics.beam import Beam
from stedalign.optics.detection import Detection
from stedalign.optics.parameters import (
    BLUR,
    EZ_WEIGHT,
    FILL_CENTERS,
    LAYER,
    LEAKS,
    MASK_OFFSETS,
    PINHOLE,
    PIXEL_ERRORS,
    TAPER,
    nominal,
)

LEAST_SIGMAS = 3.0
"""Standard deviations that make a deviation worth a word."""

Pair = tuple[float, float]
Values = Mapping[str, tuple[float, float]]
"""Fitted parameters by name, with their standard deviations."""


@dataclass(frozen=True)
class Remark:
    """One thing that is off."""

    what: str
    value: float
    """How far, in ``unit``."""
    sigma: float
    unit: str
    words: str
    """With what to do about it."""

    @property
    def sigmas(self) -> float:
        return abs(self.value) / self.sigma

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def diagnose(values: Values, beam: Beam, detection: Detection, panel_px: Pair) -> tuple[Remark, ...]:
    """What deviates from the setup by more than chance, the surest first.

    ``panel_px`` are the panel's columns and rows for a pupil radius along x and y, negative where it is flipped.
    Parameters that were not fitted, with a standard deviation of 0, say nothing.
    """
    away = {
        name: (value - nominal(beam, name, detection), sigma)
        for name, (value, sigma) in values.items()
        if sigma > 0 and name in _KNOWN
    }
    remarks = [remark for read in _READERS for remark in read(away, beam, detection, panel_px)]
    return tuple(sorted((remark for remark in remarks if remark.sigmas > LEAST_SIGMAS), key=lambda each: -each.sigmas))


def _calibration(away: Values, beam: Beam, detection: Detection, panel_px: Pair) -> list[Remark]:
    remarks = []
    for name, device in zip(PIXEL_ERRORS, ("scanner", "scanner", "z drive"), strict=True):
        if name in away:
            (value, sigma), axis = away[name], name[-1]
            words = (
                f"steps along {axis} are {1 + value:.3f} ± {sigma:.3f} of what the file says: calibrate the {device}, "
                "or give the true pixel size"
            )
            remarks.append(Remark(f"{axis} calibration", value, sigma, "1", words))
    return remarks


def _wave_plate(away: Values, beam: Beam, detection: Detection, panel_px: Pair) -> list[Remark]:
    if not all(name in away for name in LEAKS):
        return []
    length, sigma = _length(away, LEAKS)
    angle, spread = math.degrees(math.atan(length)), math.degrees(sigma / (1 + length**2))
    words = f"the light falls {angle:.1f} ± {spread:.1f} degrees short of the setup's ellipticity: turn the wave plate"
    return [Remark("wave plate", angle, spread, "degrees", words)]


def _fill(away: Values, beam: Beam, detection: Detection, panel_px: Pair) -> list[Remark]:
    if TAPER not in away:
        return []
    value, sigma = away[TAPER]
    taper = beam.taper + value
    fill = "evenly" if taper <= 0 else f"with a 1/e radius of {taper**-0.5:.2f} pupil radii"
    nominally = "evenly" if beam.taper == 0 else f"with {beam.taper**-0.5:.2f}"
    words = f"the beam fills the pupil {fill}, the setup says {nominally}: change the expander, or fill in the setup"
    return [Remark("fill", value, sigma, "1 / fill²", words)]


def _beam_center(away: Values, beam: Beam, detection: Detection, panel_px: Pair) -> list[Remark]:
    if not all(name in away for name in FILL_CENTERS):
        return []
    length, sigma = _length(away, FILL_CENTERS)
    x, y = (away[name][0] for name in FILL_CENTERS)
    words = f"the beam's center lies at x {x:+.2f}, y {y:+.2f} pupil radii in the pupil (± {sigma:.2f}): steer the beam"
    return [Remark("beam center", length, sigma, "pupil radii", words)]


def _mask_center(away: Values, beam: Beam, detection: Detection, panel_px: Pair) -> list[Remark]:
    if not all(name in away for name in MASK_OFFSETS):
        return []
    length, sigma = _length(away, MASK_OFFSETS)
    x, y = (-scale * away[name][0] for name, scale in zip(MASK_OFFSETS, panel_px, strict=True))
    words = (
        f"the mask lies beside the pupil: move it by {x:+.1f} columns and {y:+.1f} rows of the panel "
        f"(± {abs(panel_px[0]) * sigma:.1f})"
    )
    return [Remark("mask center", length, sigma, "pupil radii", words)]


def _vibration(away: Values, beam: Beam, detection: Detection, panel_px: Pair) -> list[Remark]:
    if BLUR not in away or away[BLUR][0] <= 0:
        return []
    value, sigma = away[BLUR]
    words = (
        f"the image is blurred by {math.sqrt(value):.0f} nm (standard deviation): look for vibration, or a larger bead"
    )
    return [Remark("vibration", value, sigma, "nm²", words)]


def _pinhole(away: Values, beam: Beam, detection: Detection, panel_px: Pair) -> list[Remark]:
    if PINHOLE not in away:
        return []
    value, sigma = away[PINHOLE]
    cube = max(0.0, detection.inverse_pinhole_cubed + value)
    wide = "open" if cube == 0 else f"{cube ** (-1 / 3):.1f} Airy units wide"
    words = f"the pinhole acts as if {wide}: check its size and place, or pinhole_airy in the setup"
    return [Remark("pinhole", value, sigma, "1/AU³", words)]


def _sample(away: Values, beam: Beam, detection: Detection, panel_px: Pair) -> list[Remark]:
    words = {
        LAYER: "a layer of another index lies before the bead, {0:.0f} nm thick: check mounting and correction collar",
        EZ_WEIGHT: "axial light counts {0:+.2f} more than the setup says: check the detection's aperture",
    }
    units = {LAYER: "nm", EZ_WEIGHT: "1"}
    names = {LAYER: "index layer", EZ_WEIGHT: "axial light"}
    known = [name for name in words if name in away]
    return [Remark(names[name], *away[name], units[name], words[name].format(away[name][0])) for name in known]


_KNOWN = {*PIXEL_ERRORS, *LEAKS, TAPER, *FILL_CENTERS, *MASK_OFFSETS, BLUR, PINHOLE, LAYER, EZ_WEIGHT}
_READERS: tuple[Callable[[Values, Beam, Detection, Pair], list[Remark]], ...] = (
    _calibration,
    _wave_plate,
    _fill,
    _beam_center,
    _mask_center,
    _vibration,
    _pinhole,
    _sample,
)


def _length(away: Values, names: tuple[str, str]) -> tuple[float, float]:
    """Of a vector of two parameters, with the standard deviation along it."""
    (x, sigma_x), (y, sigma_y) = (away[name] for name in names)
    length = math.hypot(x, y)
    if length == 0:
        return 0.0, math.hypot(sigma_x, sigma_y)
    return length, math.hypot(x * sigma_x, y * sigma_y) / length
