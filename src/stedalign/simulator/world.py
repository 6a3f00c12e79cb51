"""The world of the simulated microscope: light, bead and detector behind the parts that one can touch.

It sees what a real instrument sees, the 8-bit image on its panel, and shares no propagation code with the estimator
(its lens is ``lens``): a panel pixel is a flat square of phase, the bead is a ball of points, and the pupil has what
``HiddenWorld`` hides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stedalign.imaging.images import OrthoSections
from stedalign.instrument.protocols import Position
from stedalign.optics.beam import Beam
from stedalign.optics.wavefront import Wavefront
from stedalign.simulator.bead import ball_rule
from stedalign.simulator.crest import ideal_crest
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.lens import CartesianLens
from stedalign.simulator.panel_phase import PanelPhase
from stedalign.simulator.parts import SimulatedShutter, SimulatedSlm, SimulatedStage
from stedalign.simulator.vibration import blurred_axis, blurred_point

Floats = NDArray[np.float64]

CELLS_PER_PIXEL = 2
"""Pupil cells along a panel pixel."""


class SimulatedWorld:
    """The PSF source behind the simulated parts, and the truth about them.

    Intensities are relative to the crest of the focus of a point with an ideal mask and without aberration;
    hidden illumination reshapes the beam but brings the same power into the pupil.
    """

    def __init__(
        self,
        instrument: Instrument,
        hidden: HiddenWorld,
        *,
        slm: SimulatedSlm,
        stage: SimulatedStage,
        shutter: SimulatedShutter,
        seed: np.random.SeedSequence,
    ) -> None:
        self.hidden = hidden
        self.sampling = instrument.sampling
        self.detector = instrument.detector
        self._slm, self._stage, self._shutter = slm, stage, shutter
        self._drift, self._noise = (np.random.default_rng(child) for child in seed.spawn(2))
        self._bead_nm = np.array(hidden.bead_nm)

        cells_per_radius = instrument.slm.pupil_radius_px * CELLS_PER_PIXEL
        lens, crest = ideal_crest(instrument.objective, instrument.depletion, cells_per_radius)
        self._lens = lens
        self._ball = ball_rule(instrument.bead.diameter_nm, lens.highest_frequency)
        band = (lens.highest_frequency, lens.highest_frequency, lens.highest_axial_frequency)
        self._along = [
            blurred_axis(pixel * self.sampling.axis_px, hidden.blur_nm, highest)
            for pixel, highest in zip(hidden.pixel_nm(self.sampling.pixel_nm), band, strict=True)
        ]
        self._across = [blurred_point(hidden.blur_nm, highest) for highest in band]
        self._unmasked = _unmasked_waves(lens, crest, instrument.depletion, hidden)
        self._panel = PanelPhase(lens, instrument.slm, CELLS_PER_PIXEL, hidden.mask_shift)

    @property
    def bead_nm(self) -> Position:
        """Where the bead lies now, in stage coordinates."""
        x, y, z = self._bead_nm.tolist()
        return x, y, z

    def residual(self, correction: Wavefront) -> Wavefront:
        """The true residual, hidden aberration plus ``correction``, in rms waves."""
        return self.hidden.aberration + correction

    def acquire(self) -> OrthoSections:
        """Three sections around the stage's position, in counts; between them the bead takes a step."""
        waves = self._waves()
        counts = []
        for plane in range(3):
            intensity = self._section(plane, waves)
            counts.append(self.detector.expose(self.detector.expected(intensity), self._noise))
            self._bead_nm = self._bead_nm + self._drift.normal(scale=self.hidden.drift_nm, size=3)
        return OrthoSections(
            np.stack(counts), self.sampling.pixel_nm, saturation=self.detector.saturation, simulated=True
        )

    def intensity(self) -> Floats:
        """The three sections (3, N, N) without noise and drift, relative to the ideal crest."""
        waves = self._waves()
        return np.stack([self._section(plane, waves) for plane in range(3)])

    def volume(self) -> Floats:
        """The intensity (Z, Y, X) on the sections' sampling, without noise and drift."""
        if not self._shutter.is_open:
            return np.zeros((self.sampling.samples,) * 3)
        waves = self._waves()
        sharp = sum(self._lens.volume(waves, *axes, self._ball) for axes in self._axes_nm())
        x, y, z = (rule.weights for rule in self._along)
        return _nonnegative(np.einsum("Zz,Yy,Xx,zyx->ZYX", z, y, x, sharp, optimize=True))

    def _waves(self) -> NDArray[np.complex128]:
        """The plane waves (3, cells, cells) that leave the lens, with the mask now on the panel."""
        return np.asarray(self._unmasked * self._panel.factor(self._slm.shown()))

    def _axes_nm(self) -> list[tuple[Floats, Floats, Floats]]:
        """Where to look along x, y, z seen from each bead: a bead at +d makes an image shifted by +d."""
        displacement = self._bead_nm - np.array(self._stage.position_nm())
        beads = [displacement]
        if self.hidden.second_bead_nm is not None:
            beads.append(displacement + self.hidden.second_bead_nm)
        x, y, z = (rule.points_nm for rule in self._along)
        return [(x - bead[0], y - bead[1], z - bead[2]) for bead in beads]

    def _section(self, plane: int, waves: NDArray[np.complex128]) -> Floats:
        """Intensity of one section (0, 1, 2 = xy, xz, yz), through the stage's position."""
        if not self._shutter.is_open:
            return np.zeros((self.sampling.samples,) * 2)
        down, right, across = ((1, 0, 2), (2, 0, 1), (2, 1, 0))[plane]
        rule = self._across[across]
        sharp = np.zeros((len(self._along[down].points_nm), len(self._along[right].points_nm)))
        for x, y, z in self._axes_nm():
            places = float((x, y, z)[across].mean()) + rule.points_nm
            for place, weight in zip(places.tolist(), rule.weights[0], strict=True):
                if plane == 0:
                    sharp += weight * self._lens.xy(waves, x, y, place, self._ball)
                elif plane == 1:
                    sharp += weight * self._lens.xz(waves, x, place, z, self._ball)
                else:
                    sharp += weight * self._lens.yz(waves, place, y, z, self._ball)
        return _nonnegative(self._along[down].weights @ sharp @ self._along[right].weights.T)


def _unmasked_waves(lens: CartesianLens, crest: float, beam: Beam, hidden: HiddenWorld) -> NDArray[np.complex128]:
    """The plane waves (3, N, N) of the true beam without a mask, in units of the ideal focus's crest."""
    amplitude = hidden.illumination(lens.x, lens.y, beam.fill)
    kept_power = lens.power(np.exp(-(lens.x**2 + lens.y**2) / beam.fill**2)) / lens.power(amplitude)
    phase = 2 * np.pi * hidden.aberration.modes.polynomials(lens.x, lens.y) @ hidden.aberration.array
    jones = hidden.polarization(beam.polarization).jones
    return lens.waves(jones, amplitude * np.sqrt(kept_power / crest), phase)


def _nonnegative(intensity: Floats) -> Floats:
    """``intensity`` without what the fitted weights of the blur leave below zero, which cannot be counted."""
    return np.maximum(intensity, 0)
