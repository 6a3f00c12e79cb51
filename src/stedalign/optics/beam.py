"""The objective and the beam that fills it."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stedalign.optics.patterns import Pattern
from stedalign.optics.spec import Spec

Floats = NDArray[np.float64]
Mapping = Literal["sine", "herschel", "uniform", "tangent"]


class Objective(Spec):
    """An immersion objective, aplanatic unless ``mapping`` says otherwise (Abbe: back aperture = 2 f NA)."""

    na: float = Field(1.4, gt=0, lt=2)
    """Numerical aperture; must stay below the immersion index."""
    immersion_index: float = Field(1.518, ge=1, lt=3)
    """Refractive index of the immersion medium (oil 1.518, water 1.333, air 1)."""
    focal_length_mm: float = Field(1.8, gt=0, lt=1000)
    """Tube lens focal length over magnification."""
    back_aperture_mm: float = Field(5.04, gt=0, lt=1000)
    """Diameter of the back aperture."""
    mapping: Mapping = "sine"
    """From angle to height in the pupil: sine r = f sin(theta) (aplanatic), herschel r = 2 f sin(theta/2),
    uniform r = f theta, tangent r = f tan(theta). The apodization follows from the conservation of energy."""
    sample_index: float | None = Field(None, ge=1, lt=3)
    """Refractive index of the sample, where it is not the immersion's; none = the same."""
    sample_depth_nm: float = Field(0.0, ge=0, le=1e6)
    """Depth of the focus in a sample of another index."""

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

    def pupil_radius(self, sine: Floats) -> Floats:
        """Height in the pupil, in pupil radii, of rays with sine of angle ``sine``; any shape."""
        return _height(self.mapping, sine) / _height(self.mapping, np.array(self.sine))

    def ray_sine(self, radius: Floats) -> Floats:
        """Sine of the angle of rays at ``radius`` pupil radii: the inverse of ``pupil_radius``."""
        height = radius * _height(self.mapping, np.array(self.sine))
        if self.mapping == "sine":
            return height
        if self.mapping == "herschel":
            return np.sin(2 * np.arcsin(height / 2))
        return np.sin(height if self.mapping == "uniform" else np.arctan(height))

    def apodization(self, cosine: Floats) -> Floats:
        """Amplitude of a plane wave over that in the pupil: sqrt(r dr / (f^2 sin dtheta)).

        sqrt(cos), 1, sqrt(theta / sin theta) or cos^(-3/2) for the four mappings (Gu 2000, section 6.3).
        """
        if self.mapping == "sine":
            return np.sqrt(cosine)
        if self.mapping == "herschel":
            return np.ones_like(cosine)
        if self.mapping == "tangent":
            return cosine**-1.5
        return 1 / np.sqrt(np.sinc(np.arccos(cosine) / np.pi))

    def mismatch(self, sine: Floats, wavelength_nm: float) -> NDArray[np.complex128]:
        """Factor on each plane wave from a sample of another index: exp(i k0 d (n_s cos_s - n cos)).

        The focus lies ``sample_depth_nm`` behind the interface (Hell et al. 1993; Fresnel losses are left out).
        Waves beyond the critical angle are evanescent in the sample and decay. Ones without mismatch.
        """
        if self.sample_index is None or self.sample_depth_nm == 0:
            return np.ones(np.shape(sine), dtype=complex)
        transverse = (self.immersion_index * sine) ** 2
        inside = np.sqrt((self.sample_index**2 - transverse).astype(complex))
        outside = np.sqrt(self.immersion_index**2 - transverse)
        factor: NDArray[np.complex128] = np.exp(2j * np.pi * self.sample_depth_nm / wavelength_nm * (inside - outside))
        return factor

    def wavenumber(self, wavelength_nm: float) -> float:
        """2 pi n / wavelength in the immersion medium, rad per nm."""
        return 2 * math.pi * self.immersion_index / wavelength_nm


def _height(mapping: Mapping, sine: Floats) -> Floats:
    """Height over focal length of rays with this sine of angle."""
    if mapping == "sine":
        return sine
    angle = np.arcsin(sine)
    if mapping == "herschel":
        return np.asarray(2 * np.sin(angle / 2))
    return np.asarray(angle if mapping == "uniform" else np.tan(angle))


class Polarization(Spec):
    """A pure polarization in front of the objective: one ellipse everywhere, or a vector beam."""

    kind: Literal["uniform", "radial", "azimuthal"] = "uniform"
    """uniform = the ellipse below; radial and azimuthal = linear along or across the radius."""

    ellipticity_deg: float = Field(45.0, ge=-45, le=45)
    """+45 is circular, turning from +x to +y in time, and gives the zero of a vortex of positive charge;
    -45 turns the other way; 0 is linear."""
    azimuth_deg: float = Field(0.0, ge=-180, le=180)
    """Direction of the ellipse's long axis, from +x to +y."""

    def field(self, x: Floats, y: Floats) -> NDArray[np.complex128]:
        """Jones vectors (2, ...) at pupil points (pupil radii)."""
        if self.kind == "uniform":
            return np.broadcast_to(self.jones.reshape(2, *([1] * np.ndim(x))), (2, *np.shape(x)))
        azimuth = np.arctan2(y, x) + (np.pi / 2 if self.kind == "azimuthal" else 0.0)
        return np.stack([np.cos(azimuth), np.sin(azimuth)]).astype(complex)

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
    fill_center: tuple[float, float] = (0.0, 0.0)
    """Center (x, y) of the beam in the pupil, in pupil radii; without effect on a uniform fill."""
    stop_radius: float = Field(0.0, ge=0, lt=1)
    """Radius of a central stop in pupil radii (annular illumination); 0 = none."""
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

    @model_validator(mode="after")
    def _is_a_beam(self) -> Beam:
        if not np.hypot(*self.fill_center) <= 1:
            raise ValueError(f"fill_center {self.fill_center} is longer than 1 pupil radius")
        offset = np.hypot(*self.pattern.mask_offset)
        if self.stop_radius > 0 and offset >= self.stop_radius:
            raise ValueError(
                f"mask_offset {self.pattern.mask_offset} lies outside the central stop of radius {self.stop_radius}: "
                "a mask's core in the light of an annulus is not supported"
            )
        return self

    def envelope(self, x: Floats, y: Floats) -> Floats:
        """Amplitude of the beam at pupil points (pupil radii), 1 at its center; the stop is left to the quadrature."""
        return np.exp(-((x - self.fill_center[0]) ** 2 + (y - self.fill_center[1]) ** 2) / self.fill**2)
