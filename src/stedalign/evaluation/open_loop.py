"""Open loop: predictions of a network against the truth of a dataset's test split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.quality import correlation
from stedalign.networks.network import Network
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OpenLoop:
    """Predictions for n pictures of known wavefronts, all in rms waves, shapes (n, modes)."""

    modes: ModeSet
    true_waves: Floats
    predicted_waves: Floats
    correlations: Floats
    """Pearson correlation of each picture with the focus rebuilt from its prediction, shape (n,)."""

    @property
    def errors_waves(self) -> Floats:
        return self.predicted_waves - self.true_waves

    @property
    def mse_peak_waves(self) -> float:
        """The report's loss: squared error in peak waves, averaged over pictures, summed over modes."""
        return float(np.square(self.errors_waves * self.modes.norms).mean(axis=0).sum())

    @property
    def rms_per_mode_waves(self) -> Floats:
        return np.asarray(np.sqrt(np.square(self.errors_waves).mean(axis=0)))

    @property
    def total_waves(self) -> Floats:
        """Error of each picture's wavefront over all modes, shape (n,)."""
        return np.linalg.norm(self.errors_waves, axis=1)

    def to_json(self) -> dict[str, Any]:
        return {
            "samples": len(self.true_waves),
            "modes": self.modes.pairs,
            "mse_peak_waves": self.mse_peak_waves,
            "rms_true_waves": float(np.sqrt(np.square(self.true_waves).sum(axis=1).mean())),
            "rms_per_mode_waves": self.rms_per_mode_waves.tolist(),
            "rms_total_waves": float(np.sqrt(np.square(self.total_waves).mean())),
            "median_total_waves": float(np.median(self.total_waves)),
            "correlation_mean": float(self.correlations.mean()),
            "correlation_median": float(np.median(self.correlations)),
        }


def evaluate_network(
    network: Network,
    model: ForwardModel,
    noisy: Callable[[torch.Tensor], torch.Tensor],
    images: NDArray[np.float32],
    true_waves: Floats,
    track: Callable[[Sequence[int], int], Iterable[int]] = lambda batches, count: batches,
    batch: int = 64,
) -> OpenLoop:
    """Predict every picture (n, 3, N, N) after ``noisy`` and rebuild it from the prediction through the optics.

    The rebuilt focus takes over the picture's displacement, which the network is not asked for, by the center of
    mass of both. ``track`` may wrap the batches (and their number) in a progress bar.
    """
    predictions, correlations = [], []
    pixel_nm = torch.tensor(model.spec.sampling.pixel_nm)
    starts = range(0, len(images), batch)
    for first in track(starts, len(starts)):
        pictures = noisy(torch.from_numpy(images[first : first + batch]))
        waves = network.predict(pictures)
        with torch.no_grad():
            still = torch.cat([waves, torch.zeros(len(waves), 3)], dim=1).float()
            offset = center_of_mass_px(pictures) - center_of_mass_px(model.intensity(still))
            moved = torch.cat([still[:, : len(model.modes)], offset * pixel_nm], dim=1)
            rebuilt = model.intensity(moved)
        predictions.append(waves.double().numpy())
        correlations += [
            correlation(a, b) for a, b in zip(pictures.double().numpy(), rebuilt.double().numpy(), strict=True)
        ]
    return OpenLoop(model.modes, true_waves, np.concatenate(predictions), np.array(correlations))
