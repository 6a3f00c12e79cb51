"""Fisher information and the Cramér-Rao bound of the forward model's parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from stedalign.imaging.forward import ForwardModel

FLOOR = 1e-2
"""Least expected count: keeps pixels that the model calls dark from weighing without end."""
BLIND_WAVES = 0.030
"""A mode that an image tells no better than this is not seen in it."""


def fisher_information(jacobian: Tensor, expected: Tensor, read_noise: float = 0.0) -> Tensor:
    """Fisher matrix (B, P, P) of Poisson counts, from derivatives (B, P, ...) of the expected counts (B, ...).

    Read noise adds its variance to each pixel's (Snyder et al. 1995, the shifted Poisson approximation).
    """
    slopes = jacobian.flatten(2).double()
    weight = 1 / (expected.flatten(1).double() + read_noise**2).clamp_min(FLOOR)
    return (slopes * weight[:, None]) @ slopes.mT


def cramer_rao(model: ForwardModel, parameters: Tensor, read_noise: float = 0.0) -> Tensor:
    """Lowest standard deviation that any unbiased estimate of each parameter can have: (B, P).

    All parameters count as unknown. Units are those of the parameters (rms waves, nm, counts).
    """
    with torch.no_grad():
        expected, jacobian = model.linearize(parameters)
    return covariance(fisher_information(jacobian, expected, read_noise)).diagonal(dim1=1, dim2=2).sqrt()


def covariance(information: Tensor) -> Tensor:
    """Inverse of Fisher matrices (B, P, P), balanced first: parameters differ by orders of magnitude."""
    balanced, size = _balanced(information)
    inverse = torch.linalg.pinv(balanced, rtol=1e-12, hermitian=True)
    return inverse / (size[:, :, None] * size[:, None, :])


def smallest_eigenvalue(information: Tensor) -> Tensor:
    """Of the balanced Fisher matrices (B, P, P): 1 for parameters that do not mix, 0 where two are the same."""
    return torch.linalg.eigvalsh(_balanced(information)[0])[:, 0]


def _balanced(information: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices scaled to a diagonal of ones, and the scales (B, P)."""
    size = information.diagonal(dim1=1, dim2=2).sqrt().clamp_min(1e-30)
    return information / (size[:, :, None] * size[:, None, :]), size
