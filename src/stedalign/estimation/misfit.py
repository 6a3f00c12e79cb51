"""What a fit leaves beyond noise: how much of the image, and how far it is correlated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.estimation.bound import LEAST_EXPECTED_COUNT
from stedalign.estimation.expected import of_observed
from stedalign.estimation.fit import Model
from stedalign.estimation.observed import Observed

Floats = NDArray[np.float64]

LAGS = 8
"""Pixels along each axis over which the correlation of a misfit is looked for."""
SHORTEST_PX, LONGEST_PX = 0.5, 8.0
"""Standard deviations that a Gaussian correlation may have, in pixels of the fit."""


@dataclass(frozen=True)
class Misfit:
    """What a fit to one image leaves beyond noise."""

    share: float
    """Of what the image shows beside an even background, in squares: 1 less the squared correlation without noise."""
    counts: float
    """Its standard deviation in photons of a pixel of the fit; 0 where noise explains all."""
    fraction: float
    """The same over the counts at the crest."""
    reduced_chi2: float
    """Pearson's chi-squared against noise alone, over the degrees of freedom."""
    length_px: float
    """Standard deviation of its Gaussian correlation, in pixels of the fit."""

    @classmethod
    def of(cls, observed: Observed, expected: Float[Tensor, "1 parts *pixels"], parameters: int) -> Misfit:
        """Of one image ``observed``, where a fit of so many free ``parameters`` expects these photons."""
        weight = observed.weight[0].flatten(1)
        data, model = observed.counts[0].flatten(1).double(), expected[0].flatten(1).double()
        variance = (model + observed.extra[0].flatten(1)).clamp_min(0)
        believed = float(weight.sum())
        left = (data - model) * weight
        noise = float((weight * variance).sum()) / believed
        beyond = max(0.0, float(left.square().sum()) / max(1.0, believed - parameters) - noise)
        even = (weight * data).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
        shown = max(1e-300, float((weight * (data - even).square()).sum()) / believed - noise)
        crest = float((weight * (model - model.amin(1, keepdim=True))).max())
        residual = left.unflatten(1, observed.counts.shape[2:]).numpy()
        length = _correlation_length(residual, beyond) if beyond > 0 else SHORTEST_PX
        chi2 = float((left.square() / variance.clamp_min(LEAST_EXPECTED_COUNT)).sum()) / max(1.0, believed - parameters)
        return cls(min(1.0, beyond / shown), beyond**0.5, beyond**0.5 / max(crest, 1e-300), chi2, length)

    @classmethod
    def of_fit(cls, model: Model, observed: Observed, parameters: Float[Tensor, "1 parameters"], free: int) -> Misfit:
        """Of one image ``observed`` on a ``model``'s pixels at these parameters (1, P), ``free`` of them fitted."""
        with torch.no_grad():
            expected = model(parameters.to(model.focus.scale.dtype))
        if model.planes is not None:
            seen = of_observed(model.planes, expected, parameters, observed)
            expected = seen.light.reshape(expected.shape) - observed.extra
        return cls.of(observed, expected, free)

    @property
    def pixels_alike(self) -> float:
        """How many pixels of a section vary as one."""
        return max(1.0, 4 * np.pi * self.length_px**2)

    def correlation(self, shape: Sequence[int]) -> Float[Tensor, "pixels pixels"]:
        """Between the pixels of a part of that shape: of the Matérn kind, which has some fine detail, too.

        (Rasmussen and Williams 2006, eq. 4.17); near zero it falls as the Gaussian of ``length_px``.
        """
        places = torch.cartesian_prod(*(torch.arange(count, dtype=torch.float64) for count in shape))
        apart = torch.cdist(places, places) / self.length_px
        return (1 + apart) * torch.exp(-apart)

    def correlated(
        self, slopes: Float[Tensor, "parameters parts *pixels"]
    ) -> Float[Tensor, "parameters parts *pixels"]:
        """Each of these images (P, parts, ...) times the correlation of the misfit, as a matrix over the pixels."""
        for axis in range(2, slopes.ndim):
            count = slopes.shape[axis]
            place = torch.arange(count, dtype=slopes.dtype)
            kernel = torch.exp(-(((place[:, None] - place) / self.length_px) ** 2) / 2)
            slopes = torch.movedim(torch.tensordot(slopes, kernel, dims=([axis], [0])), -1, axis)
        return slopes


def _correlation_length(residual: Floats, variance: float) -> float:
    """Standard deviation of the Gaussian that the correlation of residuals (parts, ...) follows over some lags."""
    lags, logarithms = [], []
    for axis in range(1, residual.ndim):
        for lag in range(1, min(LAGS, residual.shape[axis] // 4)):
            first = residual.take(range(residual.shape[axis] - lag), axis)
            second = residual.take(range(lag, residual.shape[axis]), axis)
            together = float((first * second).mean()) / variance
            if together < 0.1:
                break
            lags.append(lag)
            logarithms.append(np.log(min(together, 0.99)))
    if not lags:
        return SHORTEST_PX
    squares = np.square(lags)
    slope = float(-(squares * logarithms).sum() / (squares**2).sum())
    return float(np.clip(1 / np.sqrt(2 * slope), SHORTEST_PX, LONGEST_PX))
