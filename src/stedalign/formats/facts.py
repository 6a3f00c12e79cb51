"""What files tell of the microscope that wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Laser:
    """A laser of the microscope, in use or not."""

    name: str
    wavelength_nm: float
    power_percent: float | None = None
    """Of the most that it gives, where told."""


@dataclass(frozen=True)
class Facts:
    """What a file tells of the microscope; None and empty where it does not."""

    software: str = ""
    objective: str = ""
    """Its name."""
    na: float | None = None
    """Numerical aperture."""
    immersion: str = ""
    """"oil", "water", "glycerol", "silicone" or "air"."""
    pinhole_um: float | None = None
    """Diameter of the pinhole."""
    pinhole_airy: float | None = None
    """The same over that of the Airy disk."""
    lasers: tuple[Laser, ...] = ()
    slm: Mapping[str, str] = field(default_factory=dict)
    """Settings of the spatial light modulator, by the path that they have there."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
