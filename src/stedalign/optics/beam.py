"""The beam that fills the objective: its light, its pattern, its polarization."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from stedalign.errors import InputError
from stedalign.optics.arrays import Array, namespace
from stedalign.optics.patterns import AnyPattern, TopHat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.spec import Spec, or_infinite


class Overlay(Spec):
    """A second pattern in the same beam path, incoherent with the first: the z-donut of a 3D-STED instrument."""

    share: float = Field(0.3, gt=0, lt=1)
    """Fraction of the beam's power that carries this pattern; the rest carries the first."""
    pattern: AnyPattern = TopHat()
    """The phase mask of this part of the beam."""
    polarization: Polarization = Polarization()


class Beam(Spec):
    """One laser beam as it enters the back aperture."""

    wavelength_nm: float = Field(775.0, gt=100, lt=5000)
    """Vacuum wavelength."""
    fill: Annotated[float, Field(ge=0.01), or_infinite(1e6)] = math.inf
    """1/e amplitude radius of the beam in pupil radii; inf = uniform."""
    fill_center: tuple[float, float] = (0.0, 0.0)
    """Center (x, y) of the beam in the pupil, in pupil radii; without effect on a uniform fill."""
    stop_radius: float = Field(0.0, ge=0, lt=1)
    """Radius of a central stop in pupil radii (annular illumination); 0 = none."""
    power_w: float = Field(0.25, gt=0, le=1e3)
    """Mean laser power."""
    repetition_rate_hz: float = Field(40e6, ge=1e-3, le=1e15)
    """Pulse repetition rate."""
    pulse_length_s: float = Field(0.7e-9, ge=1e-18, le=1e3)
    """Pulse duration."""
    transmittance: float = Field(0.84, gt=0, le=1)
    """Fraction of the power that reaches the sample."""
    overlay: Overlay | None = None
    """A second pattern, incoherent with the first: a table of share, pattern and polarization; none = no second."""
    pattern: AnyPattern = Vortex()
    """The phase mask that shapes the focus."""
    polarization: Polarization = Polarization()

    @model_validator(mode="after")
    def _is_a_beam(self) -> Beam:
        if not np.hypot(*self.fill_center) <= 1:
            raise InputError(f"fill_center {self.fill_center} is longer than 1 pupil radius")
        for part in (self, self.overlay):
            if part is not None and 0 < self.stop_radius <= np.hypot(*part.pattern.core):
                raise InputError(
                    f"mask_offset {part.pattern.core} lies outside the central stop of radius "
                    f"{self.stop_radius}: a mask's core in the light of an annulus is not supported"
                )
        return self

    @property
    def taper(self) -> float:
        """1 / fill^2: how fast the amplitude falls towards the edge, 0 for a uniform fill."""
        return (1 / self.fill) ** 2

    @property
    def components(self) -> list[Beam]:
        """The beams of one pattern and one pure polarization each, with their parts of the power.

        They add as intensities; a beam that is one of these is its only component.
        """
        first = 1.0 if self.overlay is None else 1 - self.overlay.share
        parts = [(first, self.pattern, self.polarization)]
        if self.overlay is not None:
            parts.append((self.overlay.share, self.overlay.pattern, self.overlay.polarization))
        return [
            self.model_copy(
                update={
                    "overlay": None,
                    "pattern": pattern,
                    "polarization": pure,
                    "power_w": self.power_w * share / len(polarization.components),
                }
            )
            for share, pattern, polarization in parts
            for pure in polarization.components
        ]

    def envelope(self, x: Array, y: Array, taper: Any = None, center: tuple[Any, Any] | None = None) -> Array:
        """Amplitude of the beam at pupil points (pupil radii), 1 at its center; the stop is left to the quadrature.

        ``taper`` and ``center`` (numbers or arrays that broadcast with x) stand in for the beam's own.
        """
        center_x, center_y = self.fill_center if center is None else center
        squared = (x - center_x) ** 2 + (y - center_y) ** 2
        return namespace(x).exp(-squared * (self.taper if taper is None else taper))
