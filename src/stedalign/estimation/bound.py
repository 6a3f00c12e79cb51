"""Fisher information and the Cramér-Rao bound of the forward model's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.imaging.forward import ForwardModel

Floats = NDArray[np.float64]
LEAST_EXPECTED_COUNT = 1e-2
"""Keeps pixels that the model calls dark from weighing without end."""
BLIND_WAVES = 0.030
"""A mode that an image tells no better than this is not seen in it."""


@dataclass(frozen=True, eq=False)
class Bound:
    """Lowest standard deviations that unbiased estimates of m images can have."""

    sigma: Float[Floats, "images quantities"]
    """(m, k): rms waves of each mode, or pupil radii along x and y."""

    @property
    def rms(self) -> Float[Floats, " quantities"]:
        """Of each mode or axis, the root mean square over the images, shape (k,)."""
        return np.asarray(np.sqrt(np.square(self.sigma).mean(axis=0)))

    @property
    def median(self) -> Float[Floats, " quantities"]:
        """Of each mode or axis over the images, shape (k,)."""
        return np.asarray(np.median(self.sigma, axis=0))

    @property
    def totals(self) -> Float[Floats, " images"]:
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


def fisher_information(
    jacobian: Float[Tensor, "images parameters ..."],
    expected: Float[Tensor, "images ..."],
    read_noise: float = 0.0,
) -> Float[Tensor, "images parameters parameters"]:
    """Fisher matrix (B, P, P) of Poisson counts, from derivatives (B, P, ...) of the expected counts (B, ...).

    Read noise adds its variance to each pixel's (Snyder et al. 1995, the shifted Poisson approximation).
    """
    variance = (expected.flatten(1).double() + read_noise**2).clamp_min(LEAST_EXPECTED_COUNT)
    return weighted_information(jacobian.flatten(2), 1 / variance)


def weighted_information(
    slopes: Float[Tensor, "images parameters pixels"], weight: Float[Tensor, "images pixels"]
) -> Float[Tensor, "images parameters parameters"]:
    """Fisher matrix (B, P, P) from derivatives (B, P, pixels) of pixels of variance 1 / ``weight`` (B, pixels)."""
    slopes = slopes.double()
    return (slopes * weight[:, None]) @ slopes.mT


def cramer_rao(
    model: ForwardModel, parameters: Float[Tensor, "images parameters"], read_noise: float = 0.0
) -> Float[Tensor, "images parameters"]:
    """Lowest standard deviation that any unbiased estimate of each parameter can have: (B, P).

    All parameters count as unknown. Units are those of the parameters (rms waves, nm, counts).
    """
    with torch.no_grad():
        expected, jacobian = model.linearize(parameters)
    return covariance(fisher_information(jacobian, expected, read_noise)).diagonal(dim1=1, dim2=2).sqrt()


def covariance(
    information: Float[Tensor, "images parameters parameters"],
) -> Float[Tensor, "images parameters parameters"]:
    """Inverse of Fisher matrices (B, P, P), balanced first: parameters differ by orders of magnitude."""
    balanced, size = _balanced(information)
    inverse = torch.linalg.pinv(balanced, rtol=1e-12, hermitian=True)
    return inverse / (size[:, :, None] * size[:, None, :])


def smallest_eigenvalue(information: Float[Tensor, "images parameters parameters"]) -> Float[Tensor, " images"]:
    """Of the balanced Fisher matrices (B, P, P): 1 for parameters that do not mix, 0 where two are the same."""
    return torch.linalg.eigvalsh(_balanced(information)[0])[:, 0]


def _balanced(information: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices scaled to a diagonal of ones, and the scales (B, P)."""
    size = information.diagonal(dim1=1, dim2=2).sqrt().clamp_min(1e-30)
    return information / (size[:, :, None] * size[:, None, :]), size
