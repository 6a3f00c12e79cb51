"""From plane waves to the field at samples, in as few real products as symmetry allows (``FieldKernels``)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.focusing.target_samples import TargetSamples

Floats = NDArray[np.float64]
Fold = tuple[int, int] | None
"""Waves summed over the signs of kx and ky: odd in x, odd in y; None stands for the waves as they are."""
FOLDS: tuple[Fold, ...] = None, (0, 0), (0, 1), (1, 0), (1, 1)


class FieldKernels(torch.nn.Module):
    """Linear maps from the waves of a ``WaveGrid`` to the field at each target's samples, and its intensity.

    The grid has with each wave its mirror images in x and y. For mirrored samples exp(ik.r) falls apart into products
    of a cosine or a sine for each axis; with the waves summed over their images with the matching signs first, each
    product needs a quarter of the waves and serves all mirror images of the samples.
    """

    steering: Tensor

    def __init__(
        self, k: Float[Floats, "waves 3"], basis: Float[Floats, "waves steering"], samples: Sequence[TargetSamples]
    ) -> None:
        """For wave vectors ``k`` (J, 3) in rad per nm, in the order of the grid.

        The steering parameters turn the phases of the waves, each by its column of ``basis`` (J, S), which must be odd
        or even in x and in y.
        """
        super().__init__()
        quarter = k[: len(k) // 4]
        columns: dict[Fold, list[Floats]] = {}
        self.places: list[list[tuple[Fold, slice]]] = []
        """For each target where its products stand: the fold, and the columns of its matrix."""
        for index, target in enumerate(samples):
            parts: list[tuple[Fold, Floats]] = []
            if target.mirrored:
                phases = quarter[:, None] * target.points
                for parity in target.parities:
                    kernel = np.prod(np.where(parity, np.sin(phases), np.cos(phases)), axis=2)
                    parts.append((parity[:2], kernel))
                # exp(i phase) and exp(-i phase) from cosine and sine, for each axis.
                factors = reduce(np.kron, [np.array([[1, 1j], [1, -1j]])] * len(target.axes))
            else:
                phase = k @ target.points.T
                parts, factors = [(None, np.cos(phase)), (None, np.sin(phase))], np.array([[1, 1j]])
            signs = np.kron(factors.real, np.eye(2)) + np.kron(factors.imag, [[0, -1], [1, 0]])
            self.register_buffer(f"signs{index}", torch.from_numpy(signs))
            places = []
            for fold, kernel in parts:
                matrices = columns.setdefault(fold, [])
                start = sum(matrix.shape[1] for matrix in matrices)
                matrices.append(kernel)
                places.append((fold, slice(start, start + kernel.shape[1])))
            self.places.append(places)
        self.names = {fold: f"kernel{index}" for index, fold in enumerate(columns)}
        for fold, name in self.names.items():
            self.register_buffer(name, torch.from_numpy(np.concatenate(columns[fold], axis=1)))

        parities = [_parity(column) for column in basis.T]
        self.order = sorted(range(len(parities)), key=lambda index: parities[index])
        """The steering parameters, those of the same parity together."""
        self.groups = {parity: parities.count(parity) for parity in sorted(set(parities))}
        """Their parities, and how many there are of each."""
        self.register_buffer("steering", torch.from_numpy(basis.T[self.order, None, None]))

    def forward(self, waves: Float[Tensor, "images 2 channels waves"]) -> list[Float[Tensor, "images _ _"]]:
        """The intensity (B, mirror images, P) at each target from waves (B, 2, channels, J).

        The second axis of waves and fields holds real and imaginary parts.
        """
        return [field.square().sum((-3, -2)) for field in self._fields(_folded(waves, self.names))]

    def slopes(self, waves: Float[Tensor, "images n 2 channels waves"]) -> list[Float[Tensor, "images slopes _ _"]]:
        """Derivatives (B, n + S, mirror images, P) of the intensity at each target from waves (B, n, 2, channels, J).

        The first of the n make the field. Derivatives are those along each of the n, so for the first twice the
        intensity, and then those along the steering parameters in ``order``.
        """
        turned = _folded(times_i(waves[:, :1]), FOLDS)
        rows = {}
        for fold, part in _folded(waves, self.names).items():
            rows[fold] = part.new_empty(len(part), part.shape[1] + len(self.order), *part.shape[2:])
            given, *places = rows[fold].split([part.shape[1], *self.groups.values()], dim=1)
            given.copy_(part)
            factors = self.steering[..., : part.shape[-1]].split(list(self.groups.values()))
            for parity, factor, place in zip(self.groups, factors, places, strict=True):
                # A factor with a parity leaves the sums and changes theirs: one fold of the waves serves them all.
                inside = None if fold is None else (fold[0] ^ parity[0], fold[1] ^ parity[1])
                torch.mul(turned[inside], factor, out=place)
        return [(field * (2 * field[:, :1])).sum((-3, -2)) for field in self._fields(rows)]

    def _fields(self, folded: Mapping[Fold, Tensor]) -> Iterator[Tensor]:
        """Each target's field (..., mirror images, 2, channels, P) from folds (..., 2, channels, J / 4)."""
        # One large product for each fold: many small ones are several times slower.
        products = {fold: folded[fold] @ self.get_buffer(name) for fold, name in self.names.items()}
        for index, places in enumerate(self.places):
            parts = torch.stack([products[fold][..., columns] for fold, columns in places], dim=-4)
            images = self.get_buffer(f"signs{index}") @ parts.flatten(-4, -3).flatten(-2)
            yield images.unflatten(-2, (-1, 2)).unflatten(-1, parts.shape[-2:])


def times_i(waves: Float[Tensor, "*images 2 channels waves"]) -> Float[Tensor, "*images 2 channels waves"]:
    """i x waves (..., 2, channels, J), real and imaginary part on the third axis from the end."""
    real, imaginary = waves.unbind(-3)
    return torch.stack([-imaginary, real], dim=-3)


def each(
    amplitude: Float[Tensor, "*images 2 components waves"], factors: Float[Tensor, "*batch factors waves"]
) -> Float[Tensor, "*both 2 channels waves"]:
    """Every amplitude (..., 2, components, J) times every factor (..., factors, J): (..., 2, channels, J)."""
    return (amplitude[..., None, :] * factors[..., None, None, :, :]).flatten(-3, -2)


def turned_by(
    amplitude: Float[Tensor, "*images 2 components waves"], phase: Float[Tensor, "*batch waves"]
) -> Float[Tensor, "*both 2 components waves"]:
    """exp(i phase) x amplitude, (..., 2, components, J), for phases (..., J)."""
    cosine, sine = phase.cos()[..., None, :], phase.sin()[..., None, :]
    real, imag = amplitude.unbind(-3)
    turned = torch.addcmul(cosine * real, sine, imag, value=-1), torch.addcmul(cosine * imag, sine, real)
    return torch.stack(turned, dim=-3)


def _folded(waves: Tensor, folds: Collection[Fold]) -> dict[Fold, Tensor]:
    """Those folds (..., J / 4) of waves (..., J)."""
    folded: dict[Fold, Tensor] = {None: waves} if None in folds else {}
    left, right = waves.unflatten(-1, (2, -1)).unbind(-2)
    for odd_x in (0, 1):
        if (odd_x, 0) in folds or (odd_x, 1) in folds:
            above, below = (left - right if odd_x else left + right).unflatten(-1, (2, -1)).unbind(-2)
            folded |= {
                (odd_x, odd_y): above - below if odd_y else above + below for odd_y in (0, 1) if (odd_x, odd_y) in folds
            }
    return folded


def _parity(values: Floats) -> tuple[int, int]:
    """Whether a function (J,) is odd in x and in y; raises ``InputError`` where it is neither odd nor even."""
    quarters = values.reshape(2, 2, -1)
    odd_x, odd_y = (int(np.vdot(quarters.take(0, axis), quarters.take(1, axis)) < 0) for axis in (0, 1))
    signs = np.outer([1, (-1) ** odd_x], [1, (-1) ** odd_y])
    # A coarse grid can see nothing of a mode, and what is left then is rounding without a parity.
    if not np.allclose(quarters, signs[..., None] * quarters[0, 0], atol=1e-9):
        raise InputError("steering parameters need phases that are odd or even in x and in y")
    return odd_x, odd_y
