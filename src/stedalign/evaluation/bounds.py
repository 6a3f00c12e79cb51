"""The Cramér-Rao bound of known images, at any photon number and from any of their sections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stedalign.estimation.bound import Bound, covariance, fisher_information
from stedalign.evaluation.errors import MASK_OFFSET, WAVEFRONT
from stedalign.evaluation.test_set import IMAGES_AT_ONCE, KnownImages, uneven_counts
from stedalign.imaging.images import PLANES
from stedalign.progress import SILENT, Progress
from stedalign.training.spec import NoiseSpec


class LinearizedImages:
    """The first ``count`` known images with their derivatives, which are computed once for all photon numbers."""

    def __init__(self, known: KnownImages, count: int, background_fraction: float, progress: Progress = SILENT) -> None:
        model = known.model
        self.columns = {WAVEFRONT: list(range(len(model.modes))), MASK_OFFSET: known.offset_columns}
        phase = known.true_phase(count)
        parameters = torch.zeros(len(phase), len(model.names))
        parameters[:, : phase.shape[1]] = phase
        parameters[:, model.scale], parameters[:, model.background] = 1, background_fraction
        self.batches: list[tuple[Tensor, Tensor]] = []
        for first in progress.over(range(0, len(phase), IMAGES_AT_ONCE), "bound"):
            with torch.no_grad():
                expected, jacobian = model.linearize(parameters[first : first + IMAGES_AT_ONCE])
            # What is known has no variance: without a derivative it leaves the equations.
            jacobian[:, known.held] = 0
            self.batches.append((expected, jacobian))

    def bounds(self, noise: NoiseSpec, planes: Sequence[str] = PLANES) -> dict[str, Bound]:
        """From the sections ``planes`` alone, by quantity."""
        seen = [PLANES.index(plane) for plane in planes]
        sigma = []
        for expected, jacobian in self.batches:
            information = fisher_information(
                jacobian[:, :, seen] * noise.photons, expected[:, seen] * noise.photons, uneven_counts(noise)
            )
            sigma.append(covariance(information).diagonal(dim1=1, dim2=2).clamp_min(0).sqrt())
        each = torch.cat(sigma).numpy()
        return {name: Bound(each[:, columns]) for name, columns in self.columns.items()}
