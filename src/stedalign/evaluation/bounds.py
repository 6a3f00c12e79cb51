"""The Cramér-Rao bound of known images, at any photon number and from any of their sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.estimation.bound import covariance, fisher_information
from stedalign.evaluation.errors import BATCH, MASK_OFFSET, WAVEFRONT, Track, untracked
from stedalign.evaluation.test_set import KnownImages
from stedalign.imaging.detector import NoiseSpec
from stedalign.imaging.images import PLANES

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bound:
    """Lowest standard deviations that unbiased estimates of m images can have."""

    sigma: Floats
    """(m, k): rms waves of each mode, or pupil radii along x and y."""

    @property
    def median(self) -> Floats:
        """Over the images, shape (k,)."""
        return np.asarray(np.median(self.sigma, axis=0))

    @property
    def totals(self) -> Floats:
        """Of each image, root of the summed variances, shape (m,)."""
        return np.linalg.norm(self.sigma, axis=1)

    @property
    def rms_total(self) -> float:
        """What the rms error of an efficient estimator would be."""
        return float(np.sqrt(np.square(self.totals).mean()))

    @property
    def median_total(self) -> float:
        """The median error of an efficient estimator is a little lower: by 3 % for eleven modes, 17 % for two axes."""
        return float(np.median(self.totals))

    def to_json(self) -> dict[str, Any]:
        """In the unit of the quantity."""
        return {
            "images": len(self.sigma),
            "median_each": self.median.tolist(),
            "rms_total": self.rms_total,
            "median_total": self.median_total,
        }


class Linearized:
    """The first ``count`` known images with their derivatives, which are computed once for all photon numbers."""

    def __init__(self, known: KnownImages, count: int, background_fraction: float, track: Track = untracked) -> None:
        model = known.model
        layout = model.layout
        self.columns: dict[str, slice | list[int]] = {WAVEFRONT: layout.modes, MASK_OFFSET: layout.mask_offset}
        truth = known.true_parameters(count)
        parameters = torch.zeros(len(truth), len(layout))
        parameters[:, layout.focus] = truth
        parameters[:, layout.scale], parameters[:, layout.background] = 1, background_fraction
        self.batches: list[tuple[Tensor, Tensor]] = []
        for first in track(range(0, len(truth), BATCH), "bound"):
            with torch.no_grad():
                expected, jacobian = model.linearize(parameters[first : first + BATCH])
            # What is known has no variance: without a derivative it leaves the equations.
            jacobian[:, known.held] = 0
            self.batches.append((expected, jacobian))

    def bounds(self, noise: NoiseSpec, planes: Sequence[str] = PLANES) -> dict[str, Bound]:
        """From the sections ``planes`` alone, by quantity."""
        seen = [PLANES.index(plane) for plane in planes]
        sigma = []
        for expected, jacobian in self.batches:
            information = fisher_information(
                jacobian[:, :, seen] * noise.photons, expected[:, seen] * noise.photons, noise.uneven_counts
            )
            sigma.append(covariance(information).diagonal(dim1=1, dim2=2).clamp_min(0).sqrt())
        each = torch.cat(sigma).numpy()
        return {name: Bound(each[:, columns]) for name, columns in self.columns.items()}
