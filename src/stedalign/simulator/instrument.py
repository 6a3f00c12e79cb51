"""What is told of a simulated microscope: the parts of its setup that shape an image."""

from __future__ import annotations

from typing import Protocol

from stedalign.errors import InputError
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.images import Sampling
from stedalign.instrument.slm_mask import SlmGeometry
from stedalign.instrument.stage import StageSpec
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat
from stedalign.optics.wavefront import ModeSet
from stedalign.spec import Spec


class SimulatedSetup(Protocol):
    """The parts of a setup that the simulated microscope needs."""

    @property
    def objective(self) -> Objective: ...
    @property
    def depletion(self) -> Beam: ...
    @property
    def excitation(self) -> Beam: ...
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


class Instrument(Spec):
    """One simulated microscope as it is told, without what it hides (``HiddenWorld``)."""

    objective: Objective = Objective()
    depletion: Beam = Beam()
    """The beam of the images."""
    excitation: Beam = Beam(wavelength_nm=640.0, pattern=Flat())
    """Another one, without a panel of its own, that images the same bead in the same scan."""
    bead: Bead = Bead()
    sampling: Sampling = Sampling()
    detector: Detector = Detector()
    slm: SlmGeometry = SlmGeometry()
    stage: StageSpec = StageSpec()

    @classmethod
    def of(cls, setup: SimulatedSetup) -> Instrument:
        """The parts of ``setup``."""
        return cls(**{part: getattr(setup, part) for part in cls.model_fields})

    def by_excitation(self) -> Instrument:
        """The instrument whose images are those of the excitation beam."""
        return self.model_copy(update={"depletion": self.excitation})

    def require_known_optics(self) -> None:
        """Raise ``InputError`` for optics that the simulation would silently leave out."""
        objective, beam = self.objective, self.depletion
        kinds = [part.polarization.kind for part in (beam, beam.overlay) if part is not None]
        unknown = {
            f"the mapping '{objective.mapping}'": objective.mapping != "sine",
            "a sample of another index": objective.sample_index is not None and objective.sample_depth_nm > 0,
            "a map of the polarization": "file" in kinds,
            "radial polarization": "radial" in kinds,
            "azimuthal polarization": "azimuthal" in kinds,
            f"the apodization '{objective.apodization}'": objective.apodization != "energy",
            "pixels that integrate": self.sampling.integrate,
        }
        left_out = [name for name, present in unknown.items() if present]
        if left_out:
            raise InputError(f"the simulated microscope does not know {' and '.join(left_out)}")
