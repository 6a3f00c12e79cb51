"""What the simulated microscope hides: the truth that an alignment has to find, or has to live with."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stedalign.errors import InputError
from stedalign.instrument.protocols import Position
from stedalign.instrument.stage import FARTHEST_NM
from stedalign.optics.beam import Beam
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.simulator.unmodeled import Unmodeled
from stedalign.spec import Spec, or_infinite

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

BEAD_SIGMA_NM = (60.0, 60.0, 100.0)
"""How far from the stage's origin a drawn bead lies along x, y, z (standard deviation)."""

LARGEST_TERM = 10.0
"""Of uneven illumination."""


class IndexLayer(Spec):
    """A layer of another refractive index between lens and bead."""

    thickness_nm: float = Field(ge=-10_000, le=10_000)
    """Its thickness; below 0 where it is missing, a thinner cover glass, say."""
    index: float = Field(ge=1, lt=3)
    """Its refractive index."""


class HiddenExcitation(Spec):
    """What differs in the excitation beam: all else is of scan, bead and detection, which both beams share."""

    aberration: Wavefront | None = None
    """What the optics do to it, in rms waves; none = nothing."""
    displacement_nm: Position = (0.0, 0.0, 0.0)
    """How its focus lies to that of the depletion beam, along x, y, z."""
    fill: Annotated[float, Field(ge=0.01), or_infinite(1e6)] | None = None
    """Its true 1/e amplitude radius in pupil radii; none = as the setup says."""
    fill_center: tuple[float, float] | None = None
    """Its true center (x, y) in the pupil, in pupil radii; none = as the setup says."""
    ellipticity_error_deg: float = Field(default=0.0, ge=0, le=45)
    """How far the ellipticity angle falls short of the setup's."""
    ellipse_azimuth_deg: float = Field(default=0.0, ge=-90, le=90)
    """Angle added to the azimuth of the polarization ellipse."""

    @model_validator(mode="after")
    def _is_possible(self) -> HiddenExcitation:
        if self.aberration is not None:
            self.aberration.check_range()
        if not np.abs(self.displacement_nm).max() <= FARTHEST_NM:
            raise InputError(f"displacement_nm {self.displacement_nm} must lie within ±{FARTHEST_NM:g} nm")
        if self.fill_center is not None and not math.hypot(*self.fill_center) <= 1:
            raise InputError(f"fill_center {self.fill_center} is longer than 1 pupil radius")
        return self


class HiddenWorld(Spec):
    """Everything about one simulated microscope that its setup does not tell."""

    aberration: Wavefront
    """The misalignment: what the optics add to the displayed mask, in rms waves."""
    bead_nm: Position = (0.0, 0.0, 0.0)
    """Where the bead lies at the start, in stage coordinates x, y, z."""
    fill: Annotated[float, Field(ge=0.01), or_infinite(1e6)] | None = None
    """The beam's true 1/e amplitude radius in pupil radii; none = as the setup says."""
    fill_center: tuple[float, float] | None = None
    """The beam's true center (x, y) in the pupil, in pupil radii; none = as the setup says."""
    ellipticity_error_deg: float = Field(default=0.0, ge=0, le=45)
    """How far the ellipticity angle falls short of the setup's, towards linear polarization and past it."""
    ellipse_azimuth_deg: float = Field(default=0.0, ge=-90, le=90)
    """Angle added to the azimuth of the polarization ellipse."""
    mask_shift: tuple[float, float] = (0.0, 0.0)
    """Shift (x, y) of the displayed mask against the pupil, in pupil radii."""
    drift_nm: float = Field(default=0.0, ge=0, le=1000)
    """Standard deviation per axis of the bead's random step after each section."""
    amplitude: tuple[tuple[int, int, float], ...] = ()
    """Uneven illumination: (n, m, a) terms of the factor 1 + sum of a x Z(n, m) on the amplitude."""
    blur_nm: float = Field(default=0.0, ge=0, le=100)
    """Standard deviation per axis of a Gaussian blur of the intensity, from vibration, say."""
    pixel_error: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """By which fraction the true pixels along x, y, z are larger than the setup says (the scanner's calibration)."""
    shear: tuple[float, float] = (0.0, 0.0)
    """How far along x and y the image is displaced per length along z: the scan's z axis leans against the optical."""
    pinhole_airy: float | None = Field(default=None, gt=0, le=20)
    """Diameter of a pinhole in front of the detector, in Airy units of 1.22 wavelengths / NA; none = open."""
    ez_weight: float = Field(default=1.0, ge=0, le=10)
    """How well the axial part of the field is detected against the lateral ones."""
    bead_diameter_nm: float | None = Field(default=None, ge=0, le=500)
    """The bead's true diameter; none = as the setup says."""
    layer: IndexLayer | None = None
    """A layer that the setup does not tell of; none = there is none."""
    halves_offset: tuple[float, float] = (0.0, 0.0)
    """Further shift (x, y) of the mask for the light polarized along x, its opposite for that along y, in pupil radii:
    they come from two halves of the panel."""
    halves_tilt: tuple[float, float] = (0.0, 0.0)
    """Slope (x, y) of the phase of the light polarized along x, its opposite for that along y, in waves per pupil
    radius."""
    wobble_nm: float = Field(default=0.0, ge=0, le=200)
    """Standard deviation of the displacement of each plane of a volume along x and y."""
    flicker: float = Field(default=0.0, ge=0, le=0.5)
    """Standard deviation of the light of each plane of a volume, as a fraction."""
    second_bead_nm: Position | None = None
    """Where a second, equally bright bead lies relative to the first, which it follows; none = there is none."""
    unmodeled: Unmodeled = Unmodeled()
    """What no model of an image knows of."""
    excitation: HiddenExcitation = HiddenExcitation()
    """The excitation beam, where there is one."""

    @model_validator(mode="after")
    def _is_possible(self) -> HiddenWorld:
        self.aberration.check_range()
        for name in ("bead_nm", "second_bead_nm"):
            place = getattr(self, name)
            if place is not None and not np.abs(place).max() <= FARTHEST_NM:
                raise InputError(f"{name} {place} must lie within ±{FARTHEST_NM:g} nm")
        for name, longest in {"mask_shift": 0.5, "halves_offset": 0.5, "fill_center": 1.0}.items():
            shift = getattr(self, name)
            if shift is not None and not math.hypot(*shift) <= longest:
                raise InputError(f"{name} {shift} is longer than {longest:g} pupil radii")
        for name, longest in {"shear": 0.5, "halves_tilt": 2.0}.items():
            pair = getattr(self, name)
            if not all(abs(part) <= longest for part in pair):
                raise InputError(f"{name} {pair} must lie between {-longest:g} and {longest:g}")
        if self.amplitude:
            ModeSet.of((n, m) for n, m, _ in self.amplitude)
        if not all(abs(a) <= LARGEST_TERM for *_, a in self.amplitude):
            raise InputError(
                f"amplitude {self.amplitude}: each a must lie between {-LARGEST_TERM:g} and {LARGEST_TERM:g}"
            )
        if not all(abs(error) <= 0.5 for error in self.pixel_error):
            raise InputError(f"pixel_error {self.pixel_error} must lie between -0.5 and 0.5 along each axis")
        return self

    def by_excitation(self) -> HiddenWorld:
        """The world that the excitation beam sees: its own light in the scan of the other, and no panel."""
        beam = self.excitation
        place = np.add(self.bead_nm, beam.displacement_nm).tolist()
        aberration = Wavefront.zero(self.aberration.modes) if beam.aberration is None else beam.aberration
        light = beam.model_dump(include={"fill", "fill_center", "ellipticity_error_deg", "ellipse_azimuth_deg"})
        panel = {"mask_shift": (0.0, 0.0), "halves_offset": (0.0, 0.0), "halves_tilt": (0.0, 0.0), "amplitude": ()}
        unmodeled = self.unmodeled.model_copy(update={"flatness": None, "crosstalk_px": 0.0})
        facts = {"aberration": aberration, "bead_nm": tuple(place), "unmodeled": unmodeled}
        return self.model_copy(update=light | panel | facts)

    def pixel_nm(self, nominal: Position) -> Position:
        """The true pixel size along x, y, z, where the setup says ``nominal``."""
        x, y, z = (size * (1 + error) for size, error in zip(nominal, self.pixel_error, strict=True))
        return x, y, z

    def polarization(self, nominal: Polarization) -> Polarization:
        """The true polarization, where the setup says ``nominal``."""
        ellipticity = nominal.ellipticity_deg - math.copysign(self.ellipticity_error_deg, nominal.ellipticity_deg)
        azimuth = math.remainder(nominal.azimuth_deg + self.ellipse_azimuth_deg, 360)
        return Polarization(ellipticity_deg=ellipticity, azimuth_deg=azimuth)

    def polarization_parts(self, nominal: Polarization) -> list[tuple[Complexes, float]]:
        """Jones vectors (2,) that add up to the true one, and how much of the halves' offset and tilt each has."""
        jones = self.polarization(nominal).jones
        if self.halves_offset == self.halves_tilt == (0.0, 0.0):
            return [(jones, 0.0)]
        return [(jones * [1, 0], 1.0), (jones * [0, 1], -1.0)]

    def mask_shift_of(self, side: float) -> tuple[float, float]:
        """The shift (x, y) of the mask on light that has ``side`` of the halves' offset."""
        (x, y), (further_x, further_y) = self.mask_shift, self.halves_offset
        return x + side * further_x, y + side * further_y

    def illumination(self, x: Floats, y: Floats, nominal: Beam) -> Floats:
        """The true amplitude at pupil points (pupil radii), up to a factor and without a stop; shape of x."""
        fill = nominal.fill if self.fill is None else self.fill
        center = nominal.fill_center if self.fill_center is None else self.fill_center
        amplitude = gaussian_beam(x, y, fill, center)
        if self.amplitude:
            modes = ModeSet.of((n, m) for n, m, _ in self.amplitude)
            uneven = modes.polynomials(x, y) @ np.array([a for _, _, a in self.amplitude])
            amplitude = amplitude * np.clip(1 + uneven, 0, None)
        return np.asarray(amplitude)


def gaussian_beam(x: Floats, y: Floats, fill: float, center: tuple[float, float]) -> Floats:
    """Amplitude of a beam at pupil points (pupil radii), 1 at its center; shape of x."""
    return np.asarray(np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / fill**2))


def draw_hidden(modes: ModeSet, generator: np.random.Generator, *, peak_waves_sigma: float = 0.1) -> HiddenWorld:
    """A random misalignment, ``peak_waves_sigma`` peak waves on each mode, and a bead near the origin.

    The numbers drawn do not depend on ``peak_waves_sigma``, so one seed gives the same world at any strength.
    """
    peaks = generator.normal(size=len(modes)) * peak_waves_sigma
    x, y, z = generator.normal(scale=BEAD_SIGMA_NM)
    return HiddenWorld(aberration=Wavefront.from_peak_waves(modes, peaks), bead_nm=(float(x), float(y), float(z)))
