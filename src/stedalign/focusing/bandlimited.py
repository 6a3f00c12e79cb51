"""Band-limited functions on an interval: few samples of them tell the rest.

The intensity of a focus has no spatial frequency beyond the difference of two wave vectors of the lens, so pixels
of 20 nm oversample it seven times. Prolate spheroidal wave functions are the best basis for such functions on an
interval, and the zeros of one of them the places to sample (Xiao, Rokhlin and Yarvin 2001, sections 2 and 6).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Floats = NDArray[np.float64]
legendre = np.polynomial.legendre


@lru_cache(maxsize=64)
def sampling_points(bandwidth: float, count: int) -> tuple[Float[Floats, " samples"], Float[Floats, "degrees samples"]]:
    """The zeros (count,) of the prolate function number ``count`` on [-1, 1], and an interpolation from there.

    ``bandwidth`` is the highest frequency in radians per unit. The second array (degrees, count) turns Legendre
    polynomials at any places into weights of the samples: see ``interpolation``.
    """
    functions = _prolate(bandwidth, count + 1)
    fine = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 200 * (count + 1)))
    values = legendre.legval(fine, functions[:, count])
    before = np.flatnonzero(values[:-1] * values[1:] < 0)
    # Where exactly the samples lie does not matter, so a straight line between two values finds a zero.
    share = values[before] / (values[before] - values[before + 1])
    points = fine[before] + share * (fine[before + 1] - fine[before])
    # Exactly symmetric, so that pairs of points are mirror images.
    points = (points - points[::-1]) / 2
    at_points = legendre.legvander(points, len(functions) - 1) @ functions[:, :count]
    return points, functions[:, :count] @ np.linalg.inv(at_points)


def interpolation(
    bandwidth: float, count: int, places: Float[Floats, " places"], width: float = 0.0
) -> Float[Floats, "places {count}"]:
    """Weights (places, count) of the samples at ``sampling_points`` for the function at ``places`` in [-1, 1].

    With a ``width`` for its mean over an interval of that length around each place instead.
    """
    _, weights = sampling_points(bandwidth, count)
    if width == 0:
        return np.asarray(legendre.legvander(places, len(weights) - 1) @ weights)
    node, share = legendre.leggauss(8)
    around = places[:, None] + width / 2 * node
    values = legendre.legvander(around, len(weights) - 1)
    return np.asarray(np.einsum("pgd,g->pd", values, share / 2) @ weights)


def samples_needed(bandwidth: float, tolerance: float) -> int:
    """The smallest even number of samples that gives waves up to the band's edge to ``tolerance``, in the mean.

    The mean is over places and over frequencies, weighted as the spectrum of a focus falls towards its cutoff.
    """
    places = np.linspace(-1, 1, 201)
    frequency = np.linspace(0, 1, 60)
    waves = np.exp(1j * bandwidth * np.outer(places, frequency))
    spectrum = (1 - frequency) ** 2
    count = 2 * int(bandwidth / np.pi) + 2
    while True:
        points, _ = sampling_points(bandwidth, count)
        sampled = interpolation(bandwidth, count, places) @ np.exp(1j * bandwidth * np.outer(points, frequency))
        error = (np.abs(sampled - waves) ** 2).mean(axis=0)
        if np.sqrt((error * spectrum).sum() / spectrum.sum()) < tolerance:
            return count
        count += 2


def _prolate(bandwidth: float, count: int) -> Floats:
    """Legendre coefficients (degrees, count) of the first prolate functions, by increasing number of zeros.

    They are the eigenvectors of a differential operator that is tridiagonal in normalized Legendre polynomials of one
    parity (Xiao, Rokhlin and Yarvin 2001, eqs. 62 to 64).
    """
    degrees = 2 * (int(0.7 * bandwidth) + count + 20)
    k = np.arange(degrees, dtype=float)
    c2 = bandwidth**2
    diagonal = k * (k + 1) + (2 * k * (k + 1) - 1) / ((2 * k + 3) * (2 * k - 1)) * c2
    beside = (k + 2) * (k + 1) / ((2 * k + 3) * np.sqrt((2 * k + 1) * (2 * k + 5))) * c2
    functions = np.zeros((degrees, degrees))
    for parity in (0, 1):
        part = slice(parity, None, 2)
        matrix = np.diag(diagonal[part]) + np.diag(beside[part][:-1], 1) + np.diag(beside[part][:-1], -1)
        functions[part, part] = np.linalg.eigh(matrix)[1]
    return functions[:, :count] * np.sqrt(k + 0.5)[:, None]
