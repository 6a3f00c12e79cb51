"""Slopes of pixels along a line, from their neighbors."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@lru_cache(maxsize=32)
def differences(count: int) -> Float[Floats, "{count} {count}"]:
    """The slopes (count, count) of values a step apart: of fourth order, but at the ends."""
    matrix = np.array(np.gradient(np.eye(count), axis=0))
    for row in range(2, count - 2):
        matrix[row, row - 2 : row + 3] = np.array([1, -8, 0, 8, -1]) / 12
    return matrix
