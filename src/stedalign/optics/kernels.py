"""From plane waves to the field at the samples of targets, in as few real products as their symmetry allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.optics.target_samples import TargetSamples

Floats = NDArray[np.float64]
Fold = tuple[int, int, bool]
"""Waves summed over the signs of kx and ky: odd in x, odd in y, and whether multiplied by i."""


class FieldKernels(torch.nn.Module):
    """Linear maps from the waves of a ``PolarGrid`` to the field at each target's samples.

    The grid has with each wave its mirror images in x and y. For mirrored samples exp(ik.r) falls apart into products
    of a cosine or a sine for each axis; with the waves summed over their images with the matching signs first, each
    product needs a quarter of the waves and serves all mirror images of the samples.
    """

    def __init__(self, k: Floats, samples: Sequence[TargetSamples]) -> None:
        """For wave vectors ``k`` (J, 3) in rad per nm, in the order of the grid."""
        super().__init__()
        quarter = k[: len(k) // 4]
        self.mirrored = [target.mirrored for target in samples]
        columns: dict[Fold, list[Floats]] = {}
        self.places: list[list[tuple[Fold, slice]]] = []
        """For each mirrored target, where its products stand: the fold, and the columns of its matrix."""
        for index, target in enumerate(samples):
            if not target.mirrored:
                phase = torch.from_numpy(k @ target.points.T)
                self.register_buffer(f"cosine{index}", phase.cos())
                self.register_buffer(f"sine{index}", phase.sin_())
                self.places.append([])
                continue
            phases = quarter[:, None] * target.points
            found = []
            for parity in target.parities:
                # Each sine comes with a factor i; pairs of them make a sign.
                sines = sum(parity)
                fold = parity[0], parity[1], sines % 2 == 1
                kernel = np.prod(np.where(parity, np.sin(phases), np.cos(phases)), axis=2) * (-1) ** (sines // 2)
                matrices = columns.setdefault(fold, [])
                start = sum(matrix.shape[1] for matrix in matrices)
                matrices.append(kernel)
                found.append((fold, slice(start, start + kernel.shape[1])))
            self.places.append(found)
        self.names = {fold: f"folded{index}" for index, fold in enumerate(columns)}
        for fold, name in self.names.items():
            self.register_buffer(name, torch.from_numpy(np.concatenate(columns[fold], axis=1)))

    def forward(self, waves: Tensor) -> list[list[Tensor]]:
        """For each target its field, (B, 2 x channels, P) for each mirror image, for waves (B, 2, channels, J).

        The second axis of waves and field holds all real parts before all imaginary ones.
        """
        folded = self._fold(waves)
        # One large product for each fold: many small ones are several times slower.
        products = {
            fold: (folded[fold].flatten(0, 2) @ self.get_buffer(name)).unflatten(0, (len(waves), 2 * waves.shape[2]))
            for fold, name in self.names.items()
        }
        fields = []
        for index, places in enumerate(self.places):
            if self.mirrored[index]:
                fields.append(_all_signs([products[fold][..., columns] for fold, columns in places]))
            else:
                even, odd = (waves @ self.get_buffer(f"{part}{index}") for part in ("cosine", "sine"))
                fields.append([(even + times_i(odd)).flatten(1, 2)])
        return fields

    def _fold(self, waves: Tensor) -> dict[Fold, Tensor]:
        """The folds (B, 2, channels, J / 4) that the targets need."""
        left, right = waves.unflatten(-1, (2, -1)).unbind(-2)
        folded: dict[Fold, Tensor] = {}
        for odd_x, half in enumerate((left + right, left - right)):
            above, below = half.unflatten(-1, (2, -1)).unbind(-2)
            for odd_y in (0, 1):
                wanted = [(odd_x, odd_y, turned) in self.names for turned in (False, True)]
                if any(wanted):
                    part = above - below if odd_y else above + below
                    folded[odd_x, odd_y, False] = part
                if wanted[1]:
                    folded[odd_x, odd_y, True] = times_i(part)
        return folded


def times_i(waves: Tensor) -> Tensor:
    """i x waves (B, 2, ...), real and imaginary part on the second axis."""
    return torch.stack([-waves[:, 1], waves[:, 0]], dim=1)


def _all_signs(parts: Sequence[Tensor]) -> list[Tensor]:
    """Sums of parts with all signs of the odd ones; the parity of the first axis is the slowest in both lists."""
    if len(parts) == 1:
        return [parts[0]]
    half = len(parts) // 2
    even, odd = _all_signs(parts[:half]), _all_signs(parts[half:])
    return [e + o for e, o in zip(even, odd, strict=True)] + [e - o for e, o in zip(even, odd, strict=True)]
