"""The simulated panel, stage and shutter: what they are told, and nothing of the light."""

from __future__ import annotations

import numpy as np

from stedalign.errors import InputError
from stedalign.instrument.protocols import Levels, Position
from stedalign.instrument.stage import StageSpec


class SimulatedSlm:
    """A panel that shows what it is given. Raises ``InputError`` for another shape or type."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels.copy()

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self._levels.shape
        return rows, columns

    def show(self, levels: Levels) -> None:
        if levels.shape != self.shape or levels.dtype != np.uint8:
            raise InputError(
                f"the panel shows uint8 levels of shape {self.shape}, got {levels.dtype} of {levels.shape}"
            )
        self._levels = levels.copy()

    def shown(self) -> Levels:
        return self._levels.copy()


class SimulatedStage:
    """A stage without error that starts at the origin, or at the nearest point its limits allow."""

    def __init__(self, spec: StageSpec) -> None:
        self._spec = spec
        x, y, z = np.clip(np.zeros(3), *np.array(spec.limits_nm)).tolist()
        self._position_nm: Position = (x, y, z)

    @property
    def limits_nm(self) -> tuple[Position, Position]:
        return self._spec.limits_nm

    def position_nm(self) -> Position:
        return self._position_nm

    def move_to_nm(self, x: float, y: float, z: float) -> None:
        self._spec.check((x, y, z))
        self._position_nm = (float(x), float(y), float(z))


class SimulatedShutter:
    """A shutter, closed at the start."""

    def __init__(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False
