"""The vortex: the donut of STED microscopy."""

from __future__ import annotations

from typing import Literal

from stedalign.optics.arrays import Array, namespace
from stedalign.optics.patterns.pattern import Charge, Mask, Offset


class Vortex(Mask):
    """A phase that winds around the core: a donut, dark along the optical axis.

    In circular light of the same handedness; the standard of STED microscopy (Török and Munro 2004).
    """

    kind: Literal["vortex"] = "vortex"
    charge: Charge = 1

    def phase(self, x: Array, y: Array, offset: Offset | None = None) -> Array:
        u, v = self.from_core(x, y, offset)
        return self.charge * namespace(u).arctan2(v, u)
