"""What happens in a run, as values: a table shows them, the log keeps their ``to_json``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from stedalign.estimation.estimate import Estimate
from stedalign.imaging.images import OrthoSections
from stedalign.instrument.protocols import Levels, Position
from stedalign.optics.wavefront import Wavefront


@dataclass(frozen=True)
class Centered:
    """The stage moved the bead towards the middle."""

    displacement_nm: Position

    def to_json(self) -> dict[str, Any]:
        return {"event": "centered", "displacement_nm": list(self.displacement_nm)}


@dataclass(frozen=True, eq=False)
class Measured:
    """An image was taken under a mask and understood, or refused."""

    number: int
    """How many corrections had been tried before."""
    correction: Wavefront | None
    """What the mask adds to the pattern; None for the mask that was found on the SLM."""
    levels: Levels
    sections: OrthoSections
    estimate: Estimate
    correlation: float
    """Pearson correlation of the image with the unaberrated focus, displaced and scaled as fitted."""
    kept: bool = False
    """Whether this mask is now the best one."""

    def to_json(self) -> dict[str, Any]:
        return {
            "event": "measured",
            "number": self.number,
            "correction": self.correction.to_json() if self.correction else None,
            "estimate": self.estimate.to_json(),
            "correlation": self.correlation,
            "kept": self.kept,
            "image_sha256": hashlib.sha256(self.sections.data.tobytes()).hexdigest(),
            "mask_sha256": hashlib.sha256(self.levels.tobytes()).hexdigest(),
        }


@dataclass(frozen=True)
class RestoreStep:
    """One step of leaving the microscope."""

    device: Literal["shutter", "mask", "stage"]
    outcome: str
    """What is so now, or what could not be done."""
    error: str | None = None
    """How the device failed; None where the step worked."""

    def __str__(self) -> str:
        return self.outcome if self.error is None else f"{self.outcome} ({self.error})"

    def to_json(self) -> dict[str, Any]:
        return {"device": self.device, "outcome": self.outcome, "error": self.error}


@dataclass(frozen=True)
class Restored:
    """How the microscope was left: each step in the order in which it was taken, and whether it worked."""

    steps: tuple[RestoreStep, ...] = ()
    """None before anything on the microscope was touched."""

    @property
    def complete(self) -> bool:
        """Whether every step worked."""
        return all(step.error is None for step in self.steps)

    def __str__(self) -> str:
        return ", ".join(map(str, self.steps)) or "the microscope is as it was"

    def to_json(self) -> dict[str, Any]:
        return {"event": "restored", "complete": self.complete, "steps": [step.to_json() for step in self.steps]}


@dataclass(frozen=True, eq=False)
class Finished:
    """The loop has ended by itself."""

    converged: bool
    reason: str
    shown: Measured | None
    """What stays on the SLM; None where no image was usable and the mask from before comes back."""

    def to_json(self) -> dict[str, Any]:
        return {"event": "finished", "converged": self.converged, "reason": self.reason}


Event = Centered | Measured | Restored | Finished
