"""The objective and the beam that fills it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stedalign.optics.patterns import Pattern
from stedalign.optics.spec import Spec


class Objective(Spec):
    """An aplanatic immersion objective (Abbe sine condition: back aperture = 2 f NA)."""

    na: float = Field(1.4, gt=0, lt=2)
    """Numerical aperture; must stay below the immersion index."""
    immersion_index: float = Field(1.518, ge=1, lt=3)
    """Refractive index of the immersion medium (oil 1.518, water 1.333, air 1)."""
    focal_length_mm: float = Field(1.8, gt=0, lt=1000)
    """Tube lens focal length over magnification."""
    back_aperture_mm: float = Field(5.04, gt=0, lt=1000)
    """Diameter of the back aperture."""

    @model_validator(mode="after")
    def _is_an_objective(self) -> Objective:
        if self.na >= self.immersion_index:
            raise ValueError(
                f"na = {self.na} must be smaller than immersion_index = {self.immersion_index}: "
                "NA is the index times the sine of the marginal angle"
            )
        expected = 2 * self.focal_length_mm * self.na
        if abs(self.back_aperture_mm / expected - 1) > 0.05:
            raise ValueError(
                f"back_aperture_mm = {self.back_aperture_mm} disagrees with 2 x focal_length_mm x na = "
                f"{expected:.3g} by more than 5 %"
            )
        return self

    @property
    def sine(self) -> float:
        """Sine of the marginal angle."""
        return self.na / self.immersion_index

    def wavenumber(self, wavelength_nm: float) -> float:
        """2 pi n / wavelength in the immersion medium, rad per nm."""
        return 2 * math.pi * self.immersion_index / wavelength_nm


class Polarization(Spec):
    """A pure polarization in front of the objective, as an ellipse."""

    ellipticity_deg: float = Field(45.0, ge=-45, le=45)
    """+45 is circular, turning from +x to +y in time, and gives the zero of a vortex of positive charge;
    -45 turns the other way; 0 is linear."""
    azimuth_deg: float = Field(0.0, ge=-180, le=180)
    """Direction of the ellipse's long axis, from +x to +y."""

    @property
    def jones(self) -> NDArray[np.complex128]:
        """Unit Jones vector (Ex, Ey) for the kernel exp(+ikr), that is exp(-i omega t) in time."""
        chi, psi = math.radians(self.ellipticity_deg), math.radians(self.azimuth_deg)
        along, across = math.cos(chi), 1j * math.sin(chi)
        return np.array(
            [
                along * math.cos(psi) - across * math.sin(psi),
                along * math.sin(psi) + across * math.cos(psi),
            ]
        )


class Beam(Spec):
    """One laser beam as it enters the back aperture."""

    wavelength_nm: float = Field(775.0, gt=100, lt=5000)
    """Vacuum wavelength."""
    fill: float = Field(math.inf, gt=0)
    """1/e amplitude radius of the beam in pupil radii; inf = uniform."""
    power_w: float = Field(0.25, gt=0)
    """Mean laser power."""
    repetition_rate_hz: float = Field(40e6, gt=0)
    """Pulse repetition rate."""
    pulse_length_s: float = Field(0.7e-9, gt=0)
    """Pulse duration."""
    transmittance: float = Field(0.84, gt=0, le=1)
    """Fraction of the power that reaches the sample."""
    pattern: Pattern = Pattern()
    polarization: Polarization = Polarization()
