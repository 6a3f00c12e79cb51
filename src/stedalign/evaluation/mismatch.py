"""What may be otherwise about an instrument than its setup says, each on its own and by how much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stedalign.optics.beam import Beam

LEVELS = 5
LEAST_FILL = 0.9


@dataclass(frozen=True)
class Directions:
    """Which way one instrument is off, at every level the same."""

    mask: tuple[float, float]
    """A unit vector (x, y)."""
    pixels: tuple[float, float, float]
    """+1 or -1 along x, y, z."""

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Directions:
        angle = generator.uniform(0, 2 * np.pi)
        x, y, z = generator.choice([-1.0, 1.0], size=3).tolist()
        return cls((float(np.cos(angle)), float(np.sin(angle))), (x, y, z))


def _as_said(beam: Beam) -> float:
    return 0.0


@dataclass(frozen=True)
class Mismatch:
    """One thing that an instrument may hide."""

    axis: str
    """What its levels are, with their unit."""
    most: float
    hide: Callable[[float, Directions], dict[str, Any]]
    """What ``HiddenWorld`` has at a level."""
    own: Callable[[Beam], float] = _as_said
    """The level at which the instrument is as its setup says."""

    def levels(self, beam: Beam) -> tuple[float, ...]:
        """Evenly from 0 to the ``most``, and the setup's own."""
        return tuple(sorted({self.own(beam), *np.linspace(0, self.most, LEVELS).tolist()}))


MISMATCHES = {
    "fill": Mismatch(
        f"1 / fill² ({LEAST_FILL**-2:.2f} is fill {LEAST_FILL:g})",
        LEAST_FILL**-2,
        lambda level, _: {"fill": level**-0.5 if level else np.inf},
        lambda beam: float(beam.fill**-2),
    ),
    "drift": Mismatch("drift after each section (nm)", 30, lambda level, _: {"drift_nm": level}),
    "blur": Mismatch("blur (nm)", 40, lambda level, _: {"blur_nm": level}),
    "ellipticity": Mismatch("ellipticity error (degrees)", 8, lambda level, _: {"ellipticity_error_deg": level}),
    "mask offset": Mismatch(
        "mask offset (pupil radii)", 0.15, lambda level, way: {"mask_shift": tuple(level * part for part in way.mask)}
    ),
    "pixel size": Mismatch(
        "error of the pixel size (%)", 3, lambda level, way: {"pixel_error": tuple(level / 100 * s for s in way.pixels)}
    ),
}
