"""Vibration in the simulated microscope: a Gaussian blur of the intensity, by sums over a few points of each axis.

Behind a lens the intensity is band-limited, so a sum over displaced points blurs it exactly as far as it turns each
wave exp(i k x) of the band into exp(-sigma^2 k^2 / 2) times itself. Weights are chosen for that; nothing is
periodic, so no border wraps and none needs a taper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stedalign.errors import InputError

Floats = NDArray[np.float64]

TOLERANCE = 1e-5
"""Largest error of the transfer of any wave in the band."""
MAX_REACH = 40


@dataclass(frozen=True, eq=False)
class AxisRule:
    """Where to look along one axis for its blurred samples, which are ``weights`` times what is seen there."""

    points_nm: Floats
    """Positions along the axis, shape (points,)."""
    weights: Floats
    """Shape (samples, points)."""


def blurred_axis(samples_nm: Floats, sigma_nm: float, highest_frequency: float) -> AxisRule:
    """The rule for many samples, which share their points; without blur the samples themselves.

    The points lie on a lattice at half the Nyquist distance, so they are often fewer than the samples. Each
    sample is fitted to the nearest points of the lattice, as many as the band's transfer needs. Raises
    ``InputError`` for a blur too wide.
    """
    if sigma_nm == 0:
        return AxisRule(points_nm=samples_nm, weights=np.eye(len(samples_nm)))
    pitch = math.pi / highest_frequency / 2
    # Denser towards the end of the band, where a fit on evenly spaced frequencies would be worst.
    frequencies = highest_frequency * np.cos(np.linspace(0, np.pi / 2, 3 * MAX_REACH))
    transfer = np.append(np.exp(-((sigma_nm * frequencies) ** 2) / 2), np.zeros_like(frequencies))
    nearest = np.rint(samples_nm / pitch)[:, None]
    for reach in range(1, MAX_REACH):
        lattice = nearest + np.arange(-reach, reach + 1)
        phase = frequencies[:, None] * (lattice * pitch - samples_nm[:, None])[:, None, :]
        waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
        fitted = np.linalg.pinv(waves, rcond=1e-10) @ transfer
        if np.abs(np.einsum("sfp,sp->sf", waves, fitted) - transfer).max() < TOLERANCE:
            points, column = np.unique(lattice, return_inverse=True)
            weights = np.zeros((len(samples_nm), len(points)))
            np.put_along_axis(weights, column.reshape(lattice.shape), fitted, axis=1)
            return AxisRule(points_nm=np.asarray(points * pitch, dtype=np.float64), weights=weights)
    raise InputError(f"a blur of {sigma_nm} nm is too wide for the simulated microscope")


def blurred_point(sigma_nm: float, highest_frequency: float) -> AxisRule:
    """The rule for one sample at zero: the smallest Gauss-Hermite rule that is good up to a frequency.

    Raises ``InputError`` for a blur too wide.
    """
    reach = sigma_nm * highest_frequency
    for order in range(1, MAX_REACH):
        nodes, weights = (np.asarray(part, dtype=np.float64) for part in np.polynomial.hermite_e.hermegauss(order))
        weights = weights / weights.sum()
        if abs((weights * np.cos(reach * nodes)).sum() - np.exp(-(reach**2) / 2)) < TOLERANCE:
            return AxisRule(points_nm=sigma_nm * nodes, weights=weights[None])
    raise InputError(f"a blur of {sigma_nm} nm is too wide for the simulated microscope")
