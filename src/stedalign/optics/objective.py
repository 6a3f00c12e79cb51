"""The objective: how it bends rays, and what a sample of another index does to them."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from stedalign.errors import InputError
from stedalign.optics.arrays import Array, namespace
from stedalign.spec import Spec

Mapping = Literal["sine", "herschel", "uniform", "tangent"]
Apodization = Literal["energy", "sqrt_cosine", "uniform"]
APERTURE_ERROR = 0.05
"""Fraction by which a back aperture may differ from what the other numbers make it."""

WATER_INDEX = 1.33
"""Of the layer that beads lie in where no sample's index is given."""


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
    uniform r = f theta, tangent r = f tan(theta)."""
    apodization: Apodization = "energy"
    """Amplitude of a plane wave over that in the pupil: energy = as the mapping conserves it, sqrt_cosine =
    sqrt(cos(theta)) whatever the mapping, uniform = 1."""
    sample_index: float | None = Field(None, ge=1, lt=3)
    """Refractive index of the sample, where it is not the immersion's; none = the same."""
    sample_depth_nm: float = Field(0.0, ge=0, le=1e6)
    """Depth of the focus in a sample of another index."""

    @model_validator(mode="after")
    def _is_an_objective(self) -> Objective:
        if self.na >= self.immersion_index:
            raise InputError(
                f"na = {self.na} must be smaller than immersion_index = {self.immersion_index}: "
                "NA is the index times the sine of the marginal angle"
            )
        if self.sample_depth_nm > 0 and self.sample_index is None:
            raise InputError("sample_depth_nm has no effect without sample_index, the refractive index of the sample")
        self._check_back_aperture()
        return self

    def _check_back_aperture(self) -> None:
        """Raise ``InputError`` where it is neither the nominal one (Abbe's) nor that of the mapping.

        The focal length is that in air; in the immersion medium it is longer by the index.
        """
        nominal = 2 * self.focal_length_mm * self.na
        expected = {"focal_length_mm x na": nominal}
        if self.mapping != "sine":
            diameter = 2 * self.focal_length_mm * self.immersion_index * self.pupil_height
            expected[f"the pupil's radius by the mapping '{self.mapping}'"] = diameter
        if all(abs(self.back_aperture_mm / diameter - 1) > APERTURE_ERROR for diameter in expected.values()):
            each = " and ".join(f"2 x {name} = {diameter:.3g}" for name, diameter in expected.items())
            raise InputError(
                f"back_aperture_mm = {self.back_aperture_mm} disagrees with {each} by more than "
                f"{100 * APERTURE_ERROR:.0f} %"
            )

    @property
    def sine(self) -> float:
        """Sine of the marginal angle."""
        return self.na / self.immersion_index

    @property
    def has_evanescent_waves(self) -> bool:
        """Whether the pupil holds waves beyond the critical angle of the sample."""
        return self.sample_index is not None and self.sample_depth_nm > 0 and self.na > self.sample_index

    @property
    def pupil_height(self) -> float:
        """Radius of the pupil over the focal length: sin(alpha), 2 sin(alpha / 2), alpha or tan(alpha)."""
        return float(_height(self.mapping, np.array(self.sine)))

    def pupil_radius(self, sine: Array) -> Array:
        """Height in the pupil, in pupil radii, of rays with sine of angle ``sine``; any shape."""
        return _height(self.mapping, sine) / self.pupil_height

    def ray_sine(self, radius: Array) -> Array:
        """Sine of the angle of rays at ``radius`` pupil radii: the inverse of ``pupil_radius``."""
        xp = namespace(radius)
        height = radius * self.pupil_height
        if self.mapping == "sine":
            return height
        if self.mapping == "herschel":
            return xp.sin(2 * xp.arcsin(height / 2))
        return xp.sin(height if self.mapping == "uniform" else xp.arctan(height))

    def amplitude(self, cosine: Array) -> Array:
        """Amplitude of a plane wave over that in the pupil, as ``apodization`` says; any shape."""
        xp = namespace(cosine)
        if self.apodization == "energy":
            return self.squeeze(cosine)
        return xp.sqrt(cosine) if self.apodization == "sqrt_cosine" else xp.ones_like(cosine)

    def squeeze(self, cosine: Array) -> Array:
        """Root of the pupil's area over f^2 times the solid angle behind it: sqrt(r dr / (f^2 sin dtheta)); any shape.

        sqrt(cos), 1, sqrt(theta / sin theta) or cos^(-3/2) for the four mappings, which is the amplitude that conserves
        energy (Gu 2000, section 6.3).
        """
        xp = namespace(cosine)
        if self.mapping == "sine":
            return xp.sqrt(cosine)
        if self.mapping == "herschel":
            return xp.ones_like(cosine)
        if self.mapping == "tangent":
            return cosine**-1.5
        return 1 / xp.sqrt(xp.sinc(xp.arccos(cosine) / np.pi))

    def mismatch(self, sine: Array, wavelength_nm: float) -> tuple[Array, Array]:
        """Amplitude and phase (rad) that a sample of another index puts on each plane wave.

        The factor is exp(i k0 d (n_s cos_s - n cos)) with the focus ``sample_depth_nm`` behind the interface (Hell et
        al. 1993). Waves beyond the critical angle are evanescent in the sample and decay. Left out: Fresnel losses and
        the refraction of the polarization; and z counts the travel of a stage in the immersion medium, not depth.
        """
        xp = namespace(sine)
        if self.sample_index is None or self.sample_depth_nm == 0:
            return xp.ones_like(sine), xp.zeros_like(sine)
        depth = 2 * np.pi * self.sample_depth_nm / wavelength_nm
        transverse = (self.immersion_index * sine) ** 2
        inside = self.sample_index**2 - transverse
        # Both branches are evaluated, so that neither has an infinite slope at the critical angle.
        size = xp.sqrt(xp.where(inside == 0, 1.0, xp.abs(inside)))
        path = xp.where(inside > 0, size, 0.0) - xp.sqrt(self.immersion_index**2 - transverse)
        return xp.exp(-depth * xp.where(inside < 0, size, 0.0)), depth * path

    def layer_phase(self, sine: Array, wavelength_nm: float) -> Array:
        """Phase (rad) that each nm of a thin layer of the sample's index, or of water's, puts on each plane wave.

        k0 (n_s cos_s - n cos), as of ``mismatch``. Of waves beyond the critical angle, which such a layer damps little,
        cos_s is 0.
        """
        xp = namespace(sine)
        index = WATER_INDEX if self.sample_index is None else self.sample_index
        transverse = (self.immersion_index * sine) ** 2
        inside = index**2 - transverse
        path = xp.sqrt(xp.where(inside > 0, inside, 0.0)) - xp.sqrt(self.immersion_index**2 - transverse)
        return 2 * math.pi / wavelength_nm * path

    def wavenumber(self, wavelength_nm: float) -> float:
        """2 pi n / wavelength in the immersion medium, rad per nm."""
        return 2 * math.pi * self.immersion_index / wavelength_nm


def _height(mapping: Mapping, sine: Array) -> Array:
    """Height over focal length of rays with this sine of angle."""
    xp = namespace(sine)
    if mapping == "sine":
        return sine
    angle: Array = xp.arcsin(sine)
    if mapping == "herschel":
        return 2 * xp.sin(angle / 2)
    return angle if mapping == "uniform" else xp.tan(angle)
