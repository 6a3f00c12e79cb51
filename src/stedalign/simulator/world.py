"""The world of the simulated microscope: light, bead and detector behind the parts that one can touch.

It sees what a real instrument sees, the 8-bit image on its panel, and shares no propagation code with the estimator
(its lens is ``lens``): a panel pixel is a flat square of phase, the bead is a ball of points, and the pupil has what
``HiddenWorld`` hides.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from stedalign.imaging.images import OrthoSections
from stedalign.instrument.protocols import Position
from stedalign.optics.wavefront import Wavefront
from stedalign.simulator.bead import ball_rule
from stedalign.simulator.crest import ideal_crest
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.lens import Detection, everywhere_alike
from stedalign.simulator.parts import SimulatedShutter, SimulatedSlm, SimulatedStage
from stedalign.simulator.pinhole import AIRY_DIAMETER, Pinhole
from stedalign.simulator.pupil import CELLS_PER_PIXEL, TruePupil
from stedalign.simulator.scan import ScanAxis
from stedalign.simulator.vibration import blurred_point

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

SECTION_AXES = (1, 0, 2), (2, 0, 1), (2, 1, 0)
"""Of xy, xz and yz: the axis of its rows, that along its lines, and the one across the section."""
REACH = 6.0
"""Standard deviations of a displacement that are followed."""


class SimulatedWorld:
    """The PSF source behind the simulated parts, and the truth about them.

    Intensities are relative to the crest of the focus of a point with an ideal mask and without aberration.
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
        drift, noise, disorder = seed.spawn(3)
        self._drift, self._noise = np.random.default_rng(drift), np.random.default_rng(noise)
        self._disorder, self._disorder_seed = np.random.default_rng(disorder), disorder
        self._bead_nm = np.array(hidden.bead_nm)
        self.path_nm: list[Floats] = []
        """Where the bead lay in each section of the last image."""

        objective, beam = instrument.objective, instrument.depletion
        lens, crest = ideal_crest(objective, beam, instrument.slm.pupil_radius_px * CELLS_PER_PIXEL)
        self._pupil = TruePupil(lens, crest, instrument, hidden)
        self._lens = lens.sheared(hidden.shear)
        lateral, axial = lens.highest_frequency, self._lens.highest_axial_frequency
        self._detection: Detection = everywhere_alike
        if hidden.pinhole_airy is not None:
            self._detection = Pinhole(lens, hidden.pinhole_airy, AIRY_DIAMETER * beam.wavelength_nm / objective.na)
            # A product of two intensities has twice the band.
            lateral, axial = 2 * lateral, 2 * axial
        diameter_nm = instrument.bead.diameter_nm if hidden.bead_diameter_nm is None else hidden.bead_diameter_nm
        self._ball = ball_rule(diameter_nm, lateral)
        self._band = lateral, lateral, axial
        self._pixel_nm = hidden.pixel_nm(self.sampling.pixel_nm)
        self._still = [self._axis(axis) for axis in range(3)]
        self._lines, jitter_nm = self._still[:2], hidden.unmodeled.line_jitter_nm
        if jitter_nm:
            self._lines = [self._axis(axis, REACH * jitter_nm) for axis in range(2)]
        self._across = [blurred_point(hidden.blur_nm, highest) for highest in self._band]

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
        self.path_nm = []
        for _ in SECTION_AXES:
            self.path_nm.append(self._bead_nm)
            self._bead_nm = self._bead_nm + self._drift.normal(scale=self.hidden.drift_nm, size=3)
        return self.seen_along(self.path_nm)

    def seen_along(self, path_nm: Sequence[Floats]) -> OrthoSections:
        """Three sections in counts, the bead in each at its place of a path."""
        waves, after, counts = self._waves(), self._bead_nm, []
        for plane, place in enumerate(path_nm):
            self._bead_nm = place
            intensity = self._section(plane, waves, self._disorder)
            counts.append(self.detector.expose(self.detector.expected(intensity), self._noise))
        self._bead_nm = after
        return OrthoSections(
            np.stack(counts), self.sampling.pixel_nm, saturation=self.detector.saturation, simulated=True
        )

    def intensity(self) -> Floats:
        """The three sections (3, N, N) without noise and drift, relative to the ideal crest.

        What is drawn for each section is drawn alike in each call, and so it is for a volume.
        """
        waves, disorder = self._waves(), np.random.default_rng(self._disorder_seed)
        return np.stack([self._section(plane, waves, disorder) for plane in range(3)])

    def volume(self) -> Floats:
        """The intensity (Z, Y, X) on the sections' sampling, without noise and drift."""
        if not self._shutter.is_open:
            return np.zeros((self.sampling.samples,) * 3)
        waves, disorder = self._waves(), np.random.default_rng(self._disorder_seed)
        hidden, planes = self.hidden, self.sampling.samples
        wobble_x, wobble_y = hidden.wobble_nm * disorder.normal(size=(2, planes, 1))
        light = np.maximum(1 + hidden.flicker * disorder.normal(size=(planes, 1, 1)), 0)
        x = self._axis(0, REACH * (hidden.wobble_nm + hidden.unmodeled.line_jitter_nm))
        y, z = self._axis(1, REACH * hidden.wobble_nm), self._still[2]
        seen_from = product(waves, self._places_nm([x, y, z]))
        sharp = sum(self._lens.volume(component, *at, self._ball, self._detection) for component, at in seen_from)
        seen = np.einsum("Zz,Yy,Xx,zyx->ZYX", z.weights, y.weights, x.weights, sharp, optimize=True)
        seen = y.displaced(seen.swapaxes(1, 2), wobble_y).swapaxes(1, 2)
        volume = light * self._scanned(x, seen, wobble_x, disorder)
        return np.stack([hidden.unmodeled.spoil(plane, (y.samples_nm, x.samples_nm), disorder) for plane in volume])

    def _axis(self, axis: int, reach_nm: float = 0.0) -> ScanAxis:
        """One of the scan's axes x, y, z in true nm, whose lines may be displaced by up to ``reach_nm``."""
        samples_nm = self._pixel_nm[axis] * self.sampling.axis_px
        return ScanAxis(samples_nm, reach_nm, self.hidden.blur_nm, self._band[axis])

    def _waves(self) -> list[Complexes]:
        """The plane waves (3, cells, cells) of each component that leave the lens, with the mask now on the panel."""
        return self._pupil.waves(self._slm.shown())

    def _places_nm(self, axes: Sequence[ScanAxis]) -> list[tuple[Floats, Floats, Floats]]:
        """Where to look along x, y, z seen from each bead: a bead at +d makes an image shifted by +d."""
        displacement = self._bead_nm - np.array(self._stage.position_nm())
        beads = [displacement]
        if self.hidden.second_bead_nm is not None:
            beads.append(displacement + self.hidden.second_bead_nm)
        x, y, z = (axis.points_nm for axis in axes)
        shear_x, shear_y = self.hidden.shear
        # The scan turns about the stage's position, not about the bead.
        return [(x - bead[0] - shear_x * bead[2], y - bead[1] - shear_y * bead[2], z - bead[2]) for bead in beads]

    def _section(self, plane: int, waves: Sequence[Complexes], disorder: np.random.Generator) -> Floats:
        """Intensity of one section (0, 1, 2 = xy, xz, yz), through the stage's position."""
        if not self._shutter.is_open:
            return np.zeros((self.sampling.samples,) * 2)
        down, right, across = SECTION_AXES[plane]
        axes = list(self._still)
        axes[right] = self._lines[right]
        rule = self._across[across]
        sharp = np.zeros((len(axes[down].points_nm), len(axes[right].points_nm)))
        for component, (x, y, z) in product(waves, self._places_nm(axes)):
            places = float((x, y, z)[across].mean()) + rule.points_nm
            for place, weight in zip(places.tolist(), rule.weights[0], strict=True):
                if plane == 0:
                    sharp += weight * self._lens.xy(component, x, y, place, self._ball, self._detection)
                elif plane == 1:
                    sharp += weight * self._lens.xz(component, x, place, z, self._ball, self._detection)
                else:
                    sharp += weight * self._lens.yz(component, place, y, z, self._ball, self._detection)
        section = self._scanned(axes[right], axes[down].weights @ sharp @ axes[right].weights.T, 0.0, disorder)
        return self.hidden.unmodeled.spoil(section, (axes[down].samples_nm, axes[right].samples_nm), disorder)

    def _scanned(
        self, axis: ScanAxis, seen: Floats, displacement_nm: Floats | float, disorder: np.random.Generator
    ) -> Floats:
        """The samples (..., N) of lines along ``axis``, displaced and jittering, and none below zero.

        What the fitted weights of the blur leave there cannot be counted.
        """
        jitter_nm = self.hidden.unmodeled.line_jitter_nm
        if jitter_nm:
            displacement_nm = displacement_nm + jitter_nm * disorder.normal(size=seen.shape[:-1])
        return np.maximum(axis.displaced(seen, displacement_nm), 0)
