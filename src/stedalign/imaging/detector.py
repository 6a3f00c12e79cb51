"""What the detector makes of an intensity: expected counts, photon noise, read noise, saturation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stedalign.spec import Spec

Floats = NDArray[np.float64]


class Bead(Spec):
    """The gold bead that scans the focus."""

    diameter_nm: float = Field(80.0, ge=0, le=500)
    """Diameter; 0 = a point."""


class Detector(Spec):
    """Photon budget and electronics of the detector."""

    photons: float = Field(350.0, gt=0, le=1e7)
    """Counts that the crest of the unaberrated focus gives, background not counted."""
    background: float = Field(0.02, ge=0, le=10)
    """Background counts as a fraction of ``photons``."""
    read_noise: float = Field(0.0, ge=0, le=1000)
    """Standard deviation of the electronics' noise, in counts."""
    saturation: float = Field(65535.0, gt=0)
    """Count at which the converter clips."""

    def expected(self, intensity: Floats) -> Floats:
        """Expected counts for an intensity relative to the unaberrated crest; any shape."""
        return self.photons * (intensity + self.background)

    def expose(self, expected: Floats, generator: np.random.Generator) -> Floats:
        """One noisy exposure of ``expected`` counts: whole counts between 0 and ``saturation``."""
        counts = generator.poisson(expected).astype(float)
        if self.read_noise:
            counts += generator.normal(scale=self.read_noise, size=counts.shape)
        return np.clip(np.rint(counts), 0, self.saturation)
