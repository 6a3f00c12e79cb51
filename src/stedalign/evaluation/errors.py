"""The errors of one estimator on images of a dataset's test split, in open loop: nothing is corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.evaluation.estimators import Estimator, joined, predict_in_batches
from stedalign.evaluation.reconstruction import correlations, reconstruction
from stedalign.evaluation.test_set import IMAGES_AT_ONCE, KnownImages
from stedalign.imaging.images import PLANES
from stedalign.networks.outputs import Prediction
from stedalign.optics.wavefront import ModeSet
from stedalign.progress import SILENT, Progress

Floats = NDArray[np.float64]
MISSED_WAVES = 0.010
"""Total error above which a wavefront counts as not found."""
WAVEFRONT, MASK_OFFSET = "wavefront", "mask_offset"


@dataclass(frozen=True, eq=False)
class QuantityErrors:
    """True and estimated values of one quantity, (n, k): rms waves of each mode, or pupil radii along x and y."""

    true: Floats
    estimated: Floats
    sigma: Floats | None = None
    """The standard deviations that the estimator expects of its values."""

    @property
    def errors(self) -> Floats:
        return self.estimated - self.true

    @property
    def rms(self) -> Floats:
        """Error of each mode or axis, shape (k,)."""
        return np.asarray(np.sqrt(np.square(self.errors).mean(axis=0)))

    @property
    def totals(self) -> Floats:
        """Error of each image over all modes or both axes, shape (n,)."""
        return np.linalg.norm(self.errors, axis=1)

    @property
    def strengths(self) -> Floats:
        """The true values' norm, shape (n,)."""
        return np.linalg.norm(self.true, axis=1)

    @property
    def rms_total(self) -> float:
        return float(np.sqrt(np.square(self.totals).mean()))

    @property
    def median_total(self) -> float:
        return float(np.median(self.totals))

    @property
    def within_sigma(self) -> float | None:
        """Share of the errors that are smaller than the expected standard deviation: 0.683 where that is honest."""
        return None if self.sigma is None else float((np.abs(self.errors) < self.sigma).mean())

    def share_above(self, limit: float) -> float:
        """Share of the images whose total error is above ``limit``."""
        return float((self.totals > limit).mean())

    def rms_within(self, limit: float) -> Floats:
        """Error of each mode or axis over the images whose total error is not, (k,); nan where there are none."""
        errors = self.errors[self.totals <= limit]
        return np.sqrt(np.square(errors).mean(axis=0)) if len(errors) else np.full(errors.shape[1], np.nan)


@dataclass(frozen=True, eq=False)
class OpenLoop:
    """One estimator on n images of known wavefronts."""

    modes: ModeSet
    quantities: Mapping[str, QuantityErrors]
    """``WAVEFRONT``, ``MASK_OFFSET`` or both, as far as the estimator was asked for them."""
    correlations: Floats
    """Pearson correlation of each image with the reconstruction from the estimate, (n,)."""
    input_correlations: Floats
    """The same over those sections alone that the network sees, (n,)."""
    centered_correlations: Floats
    """The same over all sections, the reconstruction placed by the center of mass alone, (n,)."""

    @property
    def mse_peak_waves(self) -> float | None:
        """The origin's loss: squared error in peak waves, averaged over images, summed over modes."""
        if WAVEFRONT not in self.quantities:
            return None
        return float(np.square(self.quantities[WAVEFRONT].errors * self.modes.norms).mean(axis=0).sum())

    def to_json(self) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "images": len(self.correlations),
            "correlation_mean": float(self.correlations.mean()),
            "correlation_median": float(np.median(self.correlations)),
            "input_correlation_mean": float(self.input_correlations.mean()),
            "centered_correlation_mean": float(self.centered_correlations.mean()),
        }
        if WAVEFRONT in self.quantities:
            wavefront = self.quantities[WAVEFRONT]
            figures |= {
                "mse_peak_waves": self.mse_peak_waves,
                "rms_per_mode_waves": wavefront.rms.tolist(),
                "rms_per_mode_of_found_waves": wavefront.rms_within(MISSED_WAVES).tolist(),
                "rms_total_waves": wavefront.rms_total,
                "median_total_waves": wavefront.median_total,
                "missed": wavefront.share_above(MISSED_WAVES),
                "within_sigma": wavefront.within_sigma,
            }
        if MASK_OFFSET in self.quantities:
            offset = self.quantities[MASK_OFFSET]
            figures |= {
                "rms_mask_offset": offset.rms.tolist(),
                "rms_total_mask_offset": offset.rms_total,
                "median_total_mask_offset": offset.median_total,
                "within_sigma_mask_offset": offset.within_sigma,
            }
        return figures


def open_loop(
    estimator: Estimator,
    known: KnownImages,
    counts: Tensor,
    asked: Sequence[str] = (WAVEFRONT,),
    *,
    planes: Sequence[str] = PLANES,
    progress: Progress = SILENT,
    title: str = "",
) -> OpenLoop:
    """Estimate the images ``counts`` (n, 3, N, N), the first n of ``known``, and reconstruct them from that.

    ``planes`` are the sections that the network sees. Raises ``InputError`` where the estimator does not predict
    what it is asked for.
    """
    parts = predict_in_batches(estimator, counts, progress, title)
    quantities = errors_by_quantity(known, joined(parts), asked)
    seen = [PLANES.index(plane) for plane in planes]
    correlated = []
    firsts = range(0, len(counts), IMAGES_AT_ONCE)
    for first, prediction in zip(progress.over(firsts, f"{title}, reconstruction"), parts, strict=True):
        images = counts[first : first + IMAGES_AT_ONCE]
        registered = reconstruction(known, images, prediction)
        centered = reconstruction(known, images, prediction, register=False)
        pairs = (images, registered), (images[:, seen], registered[:, seen]), (images, centered)
        correlated.append(torch.stack([correlations(*pair) for pair in pairs]))
    return OpenLoop(known.model.modes, quantities, *torch.cat(correlated, dim=1).double().numpy())


def errors_by_quantity(known: KnownImages, prediction: Prediction, asked: Sequence[str]) -> dict[str, QuantityErrors]:
    """What was asked for, of the first n known images. Raises ``InputError`` where it is not predicted."""
    sigma = prediction.sigma or Prediction(None, None)
    values = {
        WAVEFRONT: (known.waves, prediction.waves, sigma.waves),
        MASK_OFFSET: (known.mask_offset, prediction.mask_offset, sigma.mask_offset),
    }
    quantities = {}
    for name in asked:
        true, estimated, expected = values[name]
        if true is None or estimated is None:
            raise InputError(f"no {name.replace('_', ' ')} to compare")
        quantities[name] = QuantityErrors(
            true[: len(estimated)],
            estimated.double().numpy(),
            None if expected is None else expected.double().numpy(),
        )
    return quantities
