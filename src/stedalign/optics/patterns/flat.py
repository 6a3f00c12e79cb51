"""No mask at all."""

from __future__ import annotations

from typing import ClassVar, Literal

from stedalign.optics.arrays import Array
from stedalign.optics.patterns.pattern import Offset, Pattern


class Flat(Pattern):
    """No mask: the plain spot of an objective, that of the excitation."""

    kind: Literal["flat"] = "flat"

    has_zero: ClassVar[bool] = False

    def phase(self, x: Array, y: Array, offset: Offset | None = None) -> Array:
        return x * 0.0 + y * 0.0
