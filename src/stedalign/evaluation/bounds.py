"""The Cramér-Rao bound of known images, at any photon number and from any of their sections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stedalign.estimation.bound import Bound, covariance, fisher_information
from stedalign.evaluation.errors import MASK_OFFSET, WAVEFRONT
from stedalign.evaluation.test_set import IMAGES_AT_ONCE, KnownImages
from stedalign.imaging.detector import NoiseSpec
from stedalign.imaging.images import PLANES
from stedalign.progress import SILENT, Progress


class LinearizedImages:
    """The first ``count`` known images with their derivatives, which are computed once for all photon numbers."""

    def __init__(self, known: KnownImages, count: int, background_fraction: float, progress: Progress = SILENT) -> None:
        model = known.model
        layout = model.layout
        self.columns: dict[str, slice | list[int]] = {WAVEFRONT: layout.modes, MASK_OFFSET: layout.mask_offset}
        truth = known.true_parameters(count)
        parameters = torch.zeros(len(truth), len(layout))
        parameters[:, layout.focus] = truth
        parameters[:, layout.scale], parameters[:, layout.background] = 1, background_fraction
        self.batches: list[tuple[Tensor, Tensor]] = []
        for first in progress.over(range(0, len(truth), IMAGES_AT_ONCE), "bound"):
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
                jacobian[:, :, seen] * noise.photons, expected[:, seen] * noise.photons, noise.uneven_counts
            )
            sigma.append(covariance(information).diagonal(dim1=1, dim2=2).clamp_min(0).sqrt())
        each = torch.cat(sigma).numpy()
        return {name: Bound(each[:, columns]) for name, columns in self.columns.items()}
