"""The simulated microscope: the default instrument and the test rig of everything that drives one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stedalign.instrument.protocols import Microscope, Position
from stedalign.instrument.slm_mask import mask_levels
from stedalign.optics.wavefront import Wavefront
from stedalign.ranges import LARGEST_SEED, check_range
from stedalign.simulator.excitation import SimulatedExcitation
from stedalign.simulator.hidden import HiddenWorld, draw_hidden
from stedalign.simulator.instrument import Instrument, SimulatedSetup
from stedalign.simulator.parts import SimulatedShutter, SimulatedSlm, SimulatedStage
from stedalign.simulator.world import SimulatedWorld

NAME = "SIMULATED microscope"


@dataclass
class SimulatedMicroscope(Microscope):
    """A microscope whose truth can be asked for."""

    shutter: SimulatedShutter = field(kw_only=True)

    truth: SimulatedWorld = field(kw_only=True)
    """The world behind the parts: hidden aberration, bead position, noise-free images."""


def build(instrument: Instrument, hidden: HiddenWorld, seed: int) -> SimulatedMicroscope:
    """A simulated microscope that shows the beam's pattern without correction, its shutter closed.

    ``seed`` draws noise and drift: the same arguments give the same counts, bit by bit. Raises ``InputError`` for
    optics that the simulation does not know.
    """
    instrument.require_known_optics()
    _, image_seed, excitation_seed = _seeds(seed)
    pattern_alone = Wavefront.zero(hidden.aberration.modes)
    slm = SimulatedSlm(mask_levels(instrument.slm, instrument.depletion.pattern, pattern_alone))
    stage, shutter = SimulatedStage(instrument.stage), SimulatedShutter()
    world = SimulatedWorld(instrument, hidden, slm=slm, stage=stage, shutter=shutter, seed=image_seed)
    return SimulatedMicroscope(
        source=world,
        slm=slm,
        stage=stage,
        shutter=shutter,
        excitation=SimulatedExcitation(instrument, hidden, world, stage, excitation_seed),
        name=NAME,
        simulated=True,
        truth=world,
    )


def make_microscope(
    setup: SimulatedSetup,
    seed: int = 0,
    *,
    aberration: Wavefront | None = None,
    bead_offset_nm: Position | None = None,
) -> SimulatedMicroscope:
    """The factory behind ``--microscope simulated``; what is hidden is drawn from ``seed`` unless given."""
    world_seed, *_ = _seeds(seed)
    hidden = draw_hidden(setup.modes, np.random.default_rng(world_seed))
    given = {"aberration": aberration, "bead_nm": bead_offset_nm}
    known = {name: value for name, value in given.items() if value is not None}
    return build(Instrument.of(setup), HiddenWorld(**(dict(hidden) | known)), seed)


def _seeds(seed: int) -> list[np.random.SeedSequence]:
    """Of world, images, and images by excitation: apart, so that the counts of a given world are those of one drawn."""
    check_range("seed", seed, 0, LARGEST_SEED)
    return np.random.SeedSequence(seed).spawn(3)
