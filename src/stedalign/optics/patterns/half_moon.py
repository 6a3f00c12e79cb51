"""The half-moon: a phase step across a line."""

from __future__ import annotations

from typing import Literal

import numpy as np

from stedalign.optics.arrays import Array, namespace
from stedalign.optics.patterns.pattern import Mask, MaskRotation, NonzeroStepWaves, Offset, turned


class HalfMoon(Mask):
    """A phase step across a line through the core: dark along that line.

    It sharpens a STED microscope's focus across the line alone (Westphal and Hell 2005).
    """

    kind: Literal["half_moon"] = "half_moon"
    step_waves: NonzeroStepWaves = 0.5
    """Phase step in waves on the side of -x; half a wave makes the zero."""
    mask_rotation_deg: MaskRotation = 0.0

    @property
    def edges_rad(self) -> tuple[float, ...]:
        up = np.deg2rad(self.mask_rotation_deg) + np.pi / 2
        return up, up + np.pi

    def phase(self, x: Array, y: Array, offset: Offset | None = None) -> Array:
        u, v = self.from_core(x, y, offset)
        along, _ = turned(u, v, self.mask_rotation_deg)
        return namespace(u).where(along < 0, 2 * np.pi * self.step_waves, 0.0 * along)
