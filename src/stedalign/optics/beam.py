"""The objective and the beam that fills it."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stedalign.optics.arrays import Array, namespace
from stedalign.optics.patterns import Pattern
from stedalign.optics.pupil_maps import interpolate, jones_map, with_fingerprint
from stedalign.optics.spec import Spec

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
        if self.sample_depth_nm > 0 and self.sample_index is None:
            raise ValueError("sample_depth_nm has no effect without sample_index, the refractive index of the sample")
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

    def apodization(self, cosine: Array) -> Array:
        """Amplitude of a plane wave over that in the pupil: sqrt(r dr / (f^2 sin dtheta)).

        sqrt(cos), 1, sqrt(theta / sin theta) or cos^(-3/2) for the four mappings (Gu 2000, section 6.3).
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


class Polarization(Spec):
    """A pure polarization in front of the objective: one ellipse everywhere, a vector beam, or a map."""

    kind: Literal["uniform", "radial", "azimuthal", "file"] = "uniform"
    """uniform = the ellipse below; radial and azimuthal = linear along or across the radius; file = your own map."""

    ellipticity_deg: float = Field(45.0, ge=-45, le=45)
    """+45 is circular, turning from +x to +y in time, and gives the zero of a vortex of positive charge;
    -45 turns the other way; 0 is linear."""
    azimuth_deg: float = Field(0.0, ge=-180, le=180)
    """Direction of the ellipse's long axis, from +x to +y."""

    file: str = ""
    """For kind = "file": an .npy array (2, N, N), the complex Ex and Ey on a square whose edges touch the pupil's."""
    sha256: str = ""
    """Fingerprint of the file; filled in when it is first read, and a file that has changed since is refused."""

    @model_validator(mode="before")
    @classmethod
    def _mark_the_file(cls, data: Any) -> Any:
        return with_fingerprint(data)

    @model_validator(mode="after")
    def _has_its_file(self) -> Polarization:
        if (self.kind == "file") != bool(self.file):
            raise ValueError('a polarization map needs both kind = "file" and file = "..."')
        return self

    def field(self, x: Array, y: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Real and imaginary part of Ex, and those of Ey, at pupil points (pupil radii); each of x's shape.

        Raises ``ValueError`` where a map's file is missing, has changed or holds no map.
        """
        xp, zero = namespace(x), x * 0.0 + y * 0.0
        if self.kind == "file":
            channels = interpolate(jones_map(self.file, self.sha256), x, y)
            return (channels[0], channels[1]), (channels[2], channels[3])
        if self.kind != "uniform":
            azimuth = xp.arctan2(y, x) + (np.pi / 2 if self.kind == "azimuthal" else 0.0)
            return (xp.cos(azimuth), zero), (xp.sin(azimuth), zero)
        chi, psi = zero + np.radians(self.ellipticity_deg), zero + np.radians(self.azimuth_deg)
        along, across = xp.cos(chi), xp.sin(chi)
        return (along * xp.cos(psi), -across * xp.sin(psi)), (along * xp.sin(psi), across * xp.cos(psi))

    @property
    def jones(self) -> NDArray[np.complex128]:
        """Unit Jones vector (Ex, Ey) of the ellipse, for the kernel exp(+ikr), that is exp(-i omega t) in time.

        Raises ``ValueError`` for a polarization that is not the same everywhere.
        """
        if self.kind != "uniform":
            raise ValueError(f"a {self.kind} polarization has no Jones vector of its own")
        origin = np.zeros(())
        (x_real, x_imag), (y_real, y_imag) = self.field(origin, origin)
        return np.array([x_real + 1j * x_imag, y_real + 1j * y_imag])


class Overlay(Spec):
    """A second pattern in the same beam path, incoherent with the first: the z-donut of a 3D-STED instrument."""

    share: float = Field(0.3, gt=0, lt=1)
    """Fraction of the beam's power that carries this pattern; the rest carries the first."""
    pattern: Pattern = Pattern(kind="top_hat")
    polarization: Polarization = Polarization()


class Beam(Spec):
    """One laser beam as it enters the back aperture."""

    wavelength_nm: float = Field(775.0, gt=100, lt=5000)
    """Vacuum wavelength."""
    fill: float = Field(math.inf, ge=0.01)
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
    overlay: Overlay | None = None
    """A second pattern, incoherent with the first: a table of share, pattern and polarization; none = no second."""
    pattern: Pattern = Pattern()
    polarization: Polarization = Polarization()

    @model_validator(mode="after")
    def _is_a_beam(self) -> Beam:
        if not np.hypot(*self.fill_center) <= 1:
            raise ValueError(f"fill_center {self.fill_center} is longer than 1 pupil radius")
        for part in (self, self.overlay):
            if part is not None and 0 < self.stop_radius <= np.hypot(*part.pattern.mask_offset):
                raise ValueError(
                    f"mask_offset {part.pattern.mask_offset} lies outside the central stop of radius "
                    f"{self.stop_radius}: a mask's core in the light of an annulus is not supported"
                )
        return self

    @property
    def taper(self) -> float:
        """1 / fill^2: how fast the amplitude falls towards the edge, 0 for a uniform fill."""
        return (1 / self.fill) ** 2

    @property
    def components(self) -> list[Beam]:
        """The beams of one pattern each, with their parts of the power, that add as intensities."""
        if self.overlay is None:
            return [self]
        share = self.overlay.share
        first = {"overlay": None, "power_w": self.power_w * (1 - share)}
        second = {"pattern": self.overlay.pattern, "polarization": self.overlay.polarization}
        return [
            self.model_copy(update=first),
            self.model_copy(update=second | {"overlay": None, "power_w": self.power_w * share}),
        ]

    def envelope(self, x: Array, y: Array, taper: Any = None, center: tuple[Any, Any] | None = None) -> Array:
        """Amplitude of the beam at pupil points (pupil radii), 1 at its center; the stop is left to the quadrature.

        ``taper`` and ``center`` (numbers or arrays that broadcast with x) stand in for the beam's own.
        """
        center_x, center_y = self.fill_center if center is None else center
        squared = (x - center_x) ** 2 + (y - center_y) ** 2
        return namespace(x).exp(-squared * (self.taper if taper is None else taper))
