"""What the loop asks of an instrument: small protocols that a vendor's adapter fulfills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stedalign.imaging.images import OrthoSections
from stedalign.optics.wavefront import Wavefront

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


class Truth(Protocol):
    """What a simulated instrument knows and no real one can tell."""

    @property
    def bead_nm(self) -> Position:
        """Where the bead lies now, in stage coordinates."""

    def residual(self, correction: Wavefront) -> Wavefront:
        """The true wavefront that is left with ``correction`` on the mask, in rms waves."""


@dataclass
class Microscope:
    """The parts of one instrument, and the name it gives itself in logs and images.

    It is an open connection. A run uses the parts, restores them (``alignment.bench``) and leaves the connection open,
    so that one microscope can be aligned again and again. Whoever opened it closes it.
    """

    source: PsfSource
    slm: Slm
    stage: Stage
    shutter: Shutter | None = None
    excitation: PsfSource | None = None
    """Where the excitation beam can be imaged, too: its ``acquire`` gives the sections of the same bead that were
    scanned along with the last ones of ``source``."""
    name: str = "microscope"
    simulated: bool = False
    truth: Truth | None = None
    """None on a real instrument."""

    def close(self) -> None:
        """Close the connection; an adapter that holds one overrides this. Mask, stage and shutter stay as they are."""
