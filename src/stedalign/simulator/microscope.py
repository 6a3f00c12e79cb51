"""The simulated microscope: the default instrument and the test rig of everything that drives one.

It sees what a real one sees, the 8-bit image on its panel, and shares no propagation code with the estimator
(its lens is ``cartesian``): a panel pixel is a flat square of phase, the bead is a ball of points, and the
pupil has what ``HiddenWorld`` hides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.images import OrthoSections, Sampling
from stedalign.instrument.protocols import Microscope, Position
from stedalign.instrument.slm_mask import SlmGeometry, grating_waves, mask_levels, to_panel
from stedalign.instrument.stage import StageSpec
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.simulator.bead import ball_rule
from stedalign.simulator.crest import ideal_crest
from stedalign.simulator.hidden import HiddenWorld, draw_hidden
from stedalign.simulator.lens import CartesianLens
from stedalign.simulator.parts import SimulatedShutter, SimulatedSlm, SimulatedStage
from stedalign.simulator.vibration import blurred_axis, blurred_point

Floats = NDArray[np.float64]

CELLS_PER_PIXEL = 2
"""Pupil cells along a panel pixel."""
PROBES_PER_CELL = 4
"""Places along a pupil cell where the panel is looked up, for cells that several pixels share."""
NAME = "SIMULATED microscope"


class SimulatedWorld:
    """The light, the bead and the detector behind the simulated parts; its ``acquire`` is the PSF source.

    Intensities are relative to the crest of the focus of a point with an ideal mask and without aberration;
    hidden illumination reshapes the beam but brings the same power into the pupil.
    """

    def __init__(
        self,
        objective: Objective,
        beam: Beam,
        bead: Bead,
        sampling: Sampling,
        detector: Detector,
        geometry: SlmGeometry,
        hidden: HiddenWorld,
        *,
        slm: SimulatedSlm,
        stage: SimulatedStage,
        shutter: SimulatedShutter,
        seed: np.random.SeedSequence,
    ) -> None:
        self.hidden = hidden
        self.sampling = sampling
        self.detector = detector
        self._slm, self._stage, self._shutter = slm, stage, shutter
        self._drift, self._noise = (np.random.default_rng(child) for child in seed.spawn(2))
        self._bead_nm = np.array(hidden.bead_nm)

        lens, crest = ideal_crest(objective, beam, geometry.pupil_radius_px * CELLS_PER_PIXEL)
        self._lens = lens
        self._ball = ball_rule(bead.diameter_nm, lens.highest_frequency)
        band = (lens.highest_frequency, lens.highest_frequency, lens.highest_axial_frequency)
        self._along = [
            blurred_axis(pixel * sampling.axis_px, hidden.blur_nm, highest)
            for pixel, highest in zip(hidden.pixel_nm(sampling.pixel_nm), band, strict=True)
        ]
        self._across = [blurred_point(hidden.blur_nm, highest) for highest in band]
        amplitude = hidden.illumination(lens.x, lens.y, beam.fill)
        kept_power = lens.power(np.exp(-(lens.x**2 + lens.y**2) / beam.fill**2)) / lens.power(amplitude)
        phase = 2 * np.pi * hidden.aberration.modes.polynomials(lens.x, lens.y) @ hidden.aberration.array
        jones = hidden.polarization(beam.polarization).jones
        self._unmasked = lens.waves(jones, amplitude * np.sqrt(kept_power / crest), phase)

        row, column = _lit_pixels(lens, geometry, hidden.mask_shift)
        self._window = np.s_[row.min() : row.max() + 1, column.min() : column.max() + 1]
        self._pixel = row - row.min(), column - column.min()
        self._levels_per_2pi = geometry.levels_per_2pi
        # The optics stand in the grating's first order, so its carrier is no aberration.
        rows, columns = np.arange(row.min(), row.max() + 1.0), np.arange(column.min(), column.max() + 1.0)
        self._carrier_waves = grating_waves(geometry, columns, rows[:, None])

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
        waves = self._slm.shown()[self._window] / self._levels_per_2pi - self._carrier_waves
        pixels = np.exp(2j * np.pi * waves)
        return np.asarray(self._unmasked * pixels[self._pixel].mean(axis=0))

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


@dataclass
class SimulatedMicroscope(Microscope):
    """A microscope whose truth can be asked for."""

    shutter: SimulatedShutter = field(kw_only=True)

    world: SimulatedWorld = field(kw_only=True)
    """The world behind the parts: hidden aberration, bead position, noise-free images."""


def build_simulated(
    objective: Objective,
    beam: Beam,
    bead: Bead,
    sampling: Sampling,
    detector: Detector,
    slm_geometry: SlmGeometry,
    stage: StageSpec,
    modes: ModeSet,
    seed: int,
    *,
    aberration: Wavefront | None = None,
    peak_waves_sigma: float = 0.1,
    bead_offset_nm: Position | None = None,
    hidden: HiddenWorld | None = None,
) -> SimulatedMicroscope:
    """A simulated microscope that shows the beam's pattern without correction, its shutter closed.

    The hidden world is drawn from ``seed`` on ``modes``, or is ``hidden`` as given; ``aberration`` and
    ``bead_offset_nm`` then replace that part of it. The same arguments give the same counts, bit by bit.
    """
    _require_known_optics(objective, beam, sampling)
    world_seed, image_seed = np.random.SeedSequence(seed).spawn(2)
    if hidden is None:
        hidden = draw_hidden(modes, np.random.default_rng(world_seed), peak_waves_sigma=peak_waves_sigma)
    hidden = HiddenWorld(
        **{
            **dict(hidden),
            "aberration": hidden.aberration if aberration is None else aberration,
            "bead_nm": hidden.bead_nm if bead_offset_nm is None else bead_offset_nm,
        }
    )
    slm = SimulatedSlm(mask_levels(slm_geometry, beam.pattern, Wavefront.zero(modes)))
    simulated_stage, shutter = SimulatedStage(stage), SimulatedShutter()
    world = SimulatedWorld(
        objective,
        beam,
        bead,
        sampling,
        detector,
        slm_geometry,
        hidden,
        slm=slm,
        stage=simulated_stage,
        shutter=shutter,
        seed=image_seed,
    )
    return SimulatedMicroscope(
        source=world, slm=slm, stage=simulated_stage, shutter=shutter, name=NAME, simulated=True, world=world
    )


class SimulatedSetup(Protocol):
    """The parts of a setup that the simulated microscope needs."""

    @property
    def objective(self) -> Objective: ...
    @property
    def depletion(self) -> Beam: ...
    @property
    def bead(self) -> Bead: ...
    @property
    def sampling(self) -> Sampling: ...
    @property
    def detector(self) -> Detector: ...
    @property
    def slm(self) -> SlmGeometry: ...
    @property
    def stage(self) -> StageSpec: ...
    @property
    def modes(self) -> ModeSet: ...


def make_microscope(
    setup: SimulatedSetup,
    seed: int = 0,
    *,
    aberration: Wavefront | None = None,
    bead_offset_nm: Position | None = None,
) -> SimulatedMicroscope:
    """The factory behind ``--microscope simulated``; what is hidden is drawn from ``seed`` unless given."""
    return build_simulated(
        setup.objective,
        setup.depletion,
        setup.bead,
        setup.sampling,
        setup.detector,
        setup.slm,
        setup.stage,
        setup.modes,
        seed,
        aberration=aberration,
        bead_offset_nm=bead_offset_nm,
    )


def _nonnegative(intensity: Floats) -> Floats:
    """``intensity`` without what the fitted weights of the blur leave below zero, which cannot be counted."""
    return np.maximum(intensity, 0)


def _lit_pixels(
    lens: CartesianLens, geometry: SlmGeometry, mask_shift: tuple[float, float]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the panel pixels under each cell's probes, each (probes, N, N)."""
    width = 1 / (geometry.pupil_radius_px * CELLS_PER_PIXEL)
    steps = ((np.arange(PROBES_PER_CELL) + 0.5) / PROBES_PER_CELL - 0.5) * width
    along_x, along_y = (step.reshape(-1, 1, 1) for step in np.meshgrid(steps, steps))
    column, row = to_panel(geometry, lens.x + along_x - mask_shift[0], lens.y + along_y - mask_shift[1])
    return (
        np.clip(np.rint(row), 0, geometry.rows - 1).astype(np.intp),
        np.clip(np.rint(column), 0, geometry.columns - 1).astype(np.intp),
    )


def _require_known_optics(objective: Objective, beam: Beam, sampling: Sampling) -> None:
    """Raise ``InputError`` for optics that this simulation would silently leave out."""
    unknown = {
        f"the mapping '{objective.mapping}'": objective.mapping != "sine",
        "a sample of another index": objective.sample_index is not None and objective.sample_depth_nm > 0,
        "a central stop": beam.stop_radius > 0,
        "a beam off center": beam.fill_center != (0.0, 0.0),
        "a map of the polarization": beam.polarization.kind == "file",
        f"{beam.polarization.kind} polarization": beam.polarization.kind in ("radial", "azimuthal"),
        "an overlay of two patterns": beam.overlay is not None,
        "pixels that integrate": sampling.integrate,
    }
    found = [name for name, present in unknown.items() if present]
    if found:
        raise InputError(f"the simulated microscope does not know {' and '.join(found)}")
