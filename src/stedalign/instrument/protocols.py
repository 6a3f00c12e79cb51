"""What the loop asks of an instrument: small protocols that a vendor's adapter fulfills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stedalign.imaging.images import OrthoSections

Position = tuple[float, float, float]
Levels = NDArray[np.uint8]


@runtime_checkable
class PsfSource(Protocol):
    """Images the bead through the depletion focus."""

    def acquire(self) -> OrthoSections:
        """Three sections around the stage's position, in counts."""


@runtime_checkable
class Slm(Protocol):
    """The spatial light modulator: shows finished gray levels, nothing else."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the panel."""

    def show(self, levels: Levels) -> None:
        """Display gray levels (rows, columns) and return when they are on the panel."""

    def shown(self) -> Levels:
        """The levels on the panel now."""


@runtime_checkable
class Stage(Protocol):
    """The stage that carries the bead. Positions are x, y, z in nm."""

    @property
    def limits_nm(self) -> tuple[Position, Position]:
        """Lowest and highest allowed position."""

    def position_nm(self) -> Position: ...

    def move_to_nm(self, x: float, y: float, z: float) -> None:
        """Move; raises ``InputError`` outside the limits and then does not move."""


@runtime_checkable
class Shutter(Protocol):
    """Opens and closes the depletion beam."""

    def open(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Microscope:
    """The parts of one instrument, and the name it gives itself in logs and images."""

    source: PsfSource
    slm: Slm
    stage: Stage
    shutter: Shutter | None = None
    name: str = "microscope"
    simulated: bool = False

    def close(self) -> None:
        """Close the shutter where there is one; the mask stays as shown."""
        if self.shutter is not None:
            self.shutter.close()
