"""A pattern that the package does not have: one file, as a user would write it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from stedalign.optics.arrays import Array, namespace
from stedalign.optics.patterns.pattern import Mask, MaskRotation, Offset, StepWaves, turned


class Cross(Mask):
    """A phase step between neighboring quadrants."""

    kind: Literal["cross_pattern:Cross"] = "cross_pattern:Cross"
    step_waves: StepWaves = 0.5
    """Phase step in waves, in the second and fourth quadrant."""
    mask_rotation_deg: MaskRotation = 0.0

    @property
    def edges_rad(self) -> tuple[float, ...]:
        turn = np.deg2rad(self.mask_rotation_deg)
        return tuple(turn + quarter * np.pi / 2 for quarter in range(4))

    def phase(self, x: Array, y: Array, offset: Offset | None = None) -> Array:
        u, v = turned(*self.from_core(x, y, offset), self.mask_rotation_deg)
        return namespace(u).where(u * v < 0, 2 * np.pi * self.step_waves, 0.0 * u)
