"""The stage's travel, as the setup describes it."""

from __future__ import annotations

import numpy as np
from pydantic import model_validator

from stedalign.errors import InputError
from stedalign.instrument.protocols import Position
from stedalign.spec import Spec

FARTHEST_NM = 1e9


class StageSpec(Spec):
    """How far the stage that carries the bead may move."""

    limits_nm: tuple[Position, Position] = ((-5000.0, -5000.0, -5000.0), (5000.0, 5000.0, 5000.0))
    """Lowest and highest allowed position (x, y, z) in nm."""

    @model_validator(mode="after")
    def _is_a_range(self) -> StageSpec:
        lowest, highest = self.limits_nm
        if not (
            np.abs(self.limits_nm).max() <= FARTHEST_NM and all(a < b for a, b in zip(lowest, highest, strict=True))
        ):
            raise InputError(
                f"limits_nm {self.limits_nm} must lie within ±{FARTHEST_NM:g} nm, each low end below its high end"
            )
        return self

    def check(self, position_nm: Position) -> None:
        """Raise ``InputError`` when the position is not a finite point within the limits."""
        lowest, highest = self.limits_nm
        for axis, low, value, high in zip("xyz", lowest, position_nm, highest, strict=True):
            if not low <= value <= high:
                raise InputError(f"{axis} = {value} nm is outside the stage's limits, {low} to {high} nm")
