"""The effective (fluorescence) spot: what excitation makes and depletion leaves."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.spec import Spec

Floats = NDArray[np.float64]
CM2_PER_NM2 = 1e-14


class Fluorophore(Spec):
    """How a dye answers to the depletion beam."""

    saturation_intensity_w_cm2: float = Field(10e6, ge=1e-3, le=1e18)
    """Intensity (during the pulse, or continuous) that leaves half of the fluorescence."""
    law: Literal["pulsed", "cw"] = "pulsed"
    """pulsed = 2^(-I/Is), pulses shorter than the lifetime (Harke et al. 2008); cw = 1/(1 + I/Is) (Hell 2003)."""

    def remaining(self, intensity_w_cm2: Floats) -> Floats:
        """Fraction of the fluorescence that is left at a depletion intensity; any shape."""
        ratio = intensity_w_cm2 / self.saturation_intensity_w_cm2
        return np.exp2(-ratio) if self.law == "pulsed" else 1 / (1 + ratio)


def watts_per_cm2(power: float, objective: Objective, beam: Beam, law: str = "cw") -> float:
    """Intensity in W/cm^2 of |E|^2 = 1 in the focus of a pupil of this ``power`` (see ``Pupil.power``).

    The laser's power behind the objective passes through each plane: P = (2 pi / k)^2 x integral |a|^2 dOmega in the
    units in which the intensity is |E|^2 (Parseval, with cos theta from density to flux). For a pulsed law it is the
    mean intensity during the pulse, mean power / (repetition rate x pulse length).
    """
    power_w = beam.power_w * beam.transmittance
    if law == "pulsed":
        power_w /= min(1.0, beam.repetition_rate_hz * beam.pulse_length_s)
    area_nm2 = (2 * np.pi / objective.wavenumber(beam.wavelength_nm)) ** 2 * power
    return power_w / area_nm2 / CM2_PER_NM2
