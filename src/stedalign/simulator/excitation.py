"""The excitation beam of the simulated microscope: the spot that it images in the scan of the depletion beam."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from stedalign.errors import InputError
from stedalign.imaging.images import OrthoSections
from stedalign.instrument.slm_mask import mask_levels
from stedalign.optics.wavefront import Wavefront
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.parts import SimulatedShutter, SimulatedSlm, SimulatedStage
from stedalign.simulator.world import SimulatedWorld


class SimulatedExcitation:
    """Images the bead by the excitation beam, line by line along with the last image by the depletion beam.

    Its shutter is always open. Raises ``InputError`` for optics that the simulation does not know.
    """

    def __init__(
        self,
        instrument: Instrument,
        hidden: HiddenWorld,
        scan: SimulatedWorld,
        stage: SimulatedStage,
        seed: np.random.SeedSequence,
    ) -> None:
        self._instrument, self._hidden = instrument.by_excitation(), hidden.by_excitation()
        self._displacement_nm = np.array(hidden.excitation.displacement_nm)
        self._scan, self._stage, self._seed = scan, stage, seed

    @cached_property
    def world(self) -> SimulatedWorld:
        """What its images show."""
        self._instrument.require_known_optics()
        flat = mask_levels(
            self._instrument.slm, self._instrument.depletion.pattern, Wavefront.zero(self._hidden.aberration.modes)
        )
        shutter = SimulatedShutter()
        shutter.open()
        return SimulatedWorld(
            self._instrument,
            self._hidden,
            slm=SimulatedSlm(flat),
            stage=self._stage,
            shutter=shutter,
            seed=self._seed,
        )

    def acquire(self) -> OrthoSections:
        """Three sections in counts of the scan of the depletion beam's last image."""
        if not self._scan.path_nm:
            raise InputError("the excitation beam is imaged along with the depletion beam: image that first")
        return self.world.seen_along([place + self._displacement_nm for place in self._scan.path_nm])
