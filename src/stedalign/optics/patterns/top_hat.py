"""The top-hat: the z-donut of STED microscopy."""

from __future__ import annotations

from typing import Literal

import numpy as np

from stedalign.optics.arrays import Array, namespace
from stedalign.optics.patterns.pattern import Mask, MaskScale, NonzeroStepWaves, Offset, RingRadius


class TopHat(Mask):
    """A phase step inside a ring: dark in the focus, bright above and below.

    The z-donut of 3D-STED (Klar et al. 2000).
    """

    kind: Literal["top_hat"] = "top_hat"
    ring_radius: RingRadius = 0.71
    """Radius of the ring at which the phase steps, in pupil radii. 0.71 darkens the center for a uniform fill at NA 1.4
    in oil; a beam that fades towards the edge wants less."""
    step_waves: NonzeroStepWaves = 0.5
    """Phase step in waves inside the ring; half a wave makes the zero."""
    mask_scale: MaskScale = 1.0

    @property
    def rings(self) -> tuple[float, ...]:
        return (self.ring_radius * self.mask_scale,)

    def phase(self, x: Array, y: Array, offset: Offset | None = None) -> Array:
        u, v = self.from_core(x, y, offset)
        return namespace(u).where(u * u + v * v < self.rings[0] ** 2, 2 * np.pi * self.step_waves, 0.0 * u)
