"""The bivortex: vortex and top-hat in one mask."""

from __future__ import annotations

from typing import Literal

import numpy as np

from stedalign.optics.arrays import Array, namespace
from stedalign.optics.patterns.pattern import Charge, Mask, MaskScale, Offset, RingRadius, StepWaves


class Bivortex(Mask):
    """A vortex with a phase step inside a ring: one beam that is dark in the focus in all directions.

    The coherent hybrid of both patterns (Pereira et al. 2019).
    """

    kind: Literal["bivortex"] = "bivortex"
    charge: Charge = 1
    ring_radius: RingRadius = 0.71
    """Radius of the ring at which the phase steps, in pupil radii."""
    step_waves: StepWaves = 0.5
    """Phase step in waves inside the ring."""
    mask_scale: MaskScale = 1.0

    @property
    def rings(self) -> tuple[float, ...]:
        return (self.ring_radius * self.mask_scale,)

    def phase(self, x: Array, y: Array, offset: Offset | None = None) -> Array:
        xp = namespace(x)
        u, v = self.from_core(x, y, offset)
        winding = self.charge * xp.arctan2(v, u)
        return xp.where(u * u + v * v < self.rings[0] ** 2, winding + 2 * np.pi * self.step_waves, winding)
