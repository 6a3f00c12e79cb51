"""Chebyshev polynomials of tensors, with their slopes, in few operations however many there are."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def polynomials(place: Float[Tensor, "*places"], count: int) -> Float[Tensor, "*places {count}"]:
    """T_0 to T_(count-1) at ``place``: (..., count)."""
    values = torch.stack([torch.ones_like(place), place], dim=-1)
    while values.shape[-1] < count:
        # T_(n+k) = 2 T_n T_k - T_(n-k), for all k up to n at once.
        further = 2 * values[..., -1:] * values[..., 1:] - values[..., :-1].flip(-1)
        values = torch.cat([values, further], dim=-1)
    return values[..., :count]


def slopes(values: Float[Tensor, "*places count"]) -> Float[Tensor, "*places count"]:
    """The derivatives of ``polynomials``, which are sums of those of lower degree: (..., count)."""
    return values @ _differentiation(values.shape[-1]).to(values)


@lru_cache(maxsize=32)
def _differentiation(count: int) -> Tensor:
    matrix = np.zeros((count, count))
    for degree in range(1, count):
        lower = np.polynomial.chebyshev.chebder(np.eye(count)[degree])
        matrix[: len(lower), degree] = lower
    return torch.from_numpy(matrix)
