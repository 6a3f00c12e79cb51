"""When to correct, when to stop, and when a correction counts as better."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from pydantic import Field
from scipy import stats

from stedalign.estimation.estimate import Estimate
from stedalign.optics.wavefront import Wavefront
from stedalign.spec import Spec


class Judged(Protocol):
    """An image with its estimate and its correlation with the unaberrated focus."""

    @property
    def estimate(self) -> Estimate: ...
    @property
    def correlation(self) -> float: ...


class Policy(Spec):
    """How the loop behaves."""

    max_corrections: int = Field(3, ge=0, le=50)
    """Corrections shown at most."""
    gain: float = Field(1.0, gt=0, le=1)
    """Fraction of the estimated wavefront that is taken out at once."""
    target_waves: float = Field(0.005, gt=0, le=1)
    """A wavefront of this rms or less is left alone."""
    significance: float = Field(0.01, gt=0, lt=1)
    """A wavefront that noise alone shows more often than this is left alone."""
    max_correction_waves: float = Field(0.6, gt=0, le=1)
    """The correction on the mask never exceeds this rms."""
    center_within_nm: float = Field(30.0, gt=0, le=1e5)
    """The bead is moved to the middle until it is this close."""
    max_center_moves: int = Field(5, ge=0, le=50)
    """Moves of the stage per image at most."""
    max_travel_nm: float = Field(1000.0, gt=0, le=1e9)
    """The stage follows the bead this far from where it began and no further."""
    correlation_slack: float = Field(0.005, ge=0, le=2)
    """How far the correlation with the ideal focus may fall by noise before a correction counts as worse."""
    strict: bool = False
    """Whether an estimate with model error counts as refused."""

    def accepts(self, estimate: Estimate) -> bool:
        """Whether a correction may follow from this estimate."""
        return not estimate.objection(strict=self.strict)

    def is_aligned(self, estimate: Estimate) -> bool:
        """Whether what is left is small, or not distinguishable from zero (chi-squared test over all modes)."""
        waves, sigma = estimate.wavefront.array, np.array(estimate.sigma_waves)
        chance = float(stats.chi2.sf(((waves / sigma) ** 2).sum(), len(waves)))
        return self.residual_waves(estimate) <= self.target_waves or chance > self.significance

    def residual_waves(self, estimate: Estimate) -> float:
        """The estimate's rms without the share that its own noise adds."""
        return float(np.sqrt(max(0.0, estimate.rms_waves**2 - estimate.rms_sigma_waves**2)))

    def next_correction(self, correction: Wavefront, estimate: Estimate) -> Wavefront:
        """The correction on the mask less the wavefront that is left, never longer than the limit."""
        wanted = correction + estimate.correction * self.gain
        return wanted * min(1.0, self.max_correction_waves / max(wanted.rms_waves, 1e-12))

    def is_better(self, new: Judged, old: Judged) -> bool:
        """Whether a new image shows a better focus.

        The model must explain it and see a smaller wavefront, and the correlation with the unaberrated focus, which
        takes from the fit only where the focus lies and how bright it is, must not have fallen.
        """
        return (
            self.accepts(new.estimate)
            and new.estimate.rms_waves < old.estimate.rms_waves
            and new.correlation > old.correlation - self.correlation_slack
        )
