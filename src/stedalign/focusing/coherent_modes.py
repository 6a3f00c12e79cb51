"""A bead (``coherent_factors``), or blurs and beads that differ (``Blur``), as a short sum of coherent beams.

A bead averages the intensity over its volume. Its effect on a pair of plane waves is the Fourier transform of the ball
at k_j - k_l, a positive operator on the pupil whose leading eigenfunctions propagate one by one and add as intensities
(the coherent-mode expansion, Wolf 1982). A Gaussian blur of the image, the same along x, y and z, multiplies that
transform by exp(-variance |k_j - k_l|^2 / 2), and the operator stays positive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh
from torch import Tensor

from stedalign.errors import InputError
from stedalign.focusing.chebyshev import polynomials, slopes

Floats = NDArray[np.float64]
chebyshev = np.polynomial.chebyshev

TABLE = 12
"""Terms of the series in a blur's variance."""
BEAD_TABLE = 10
"""Terms of the series in a bead's diameter."""
SHOWN = 1.2
"""How much more an operator may err than the images (measured: these err by 0.75 to 0.85 of it)."""
ALIKE = 0.99
"""Share of one eigenvalue above which the next one belongs to it."""
JITTER = 1e-7
"""Added to the power of each factor, so that rounding never makes one negative."""


def coherent_factors(
    k: Float[Floats, "waves 3"], area: Float[Floats, " waves"], diameter_nm: float, tolerance: float
) -> Float[Floats, "factors waves"]:
    """Pupil factors (C, J) such that the focus of a bead is the sum of the intensities of C beams.

    The waves have the vectors ``k`` (J, 3) in rad per nm and stand for solid angles ``area`` (J,). Raises
    ``InputError`` for a bead too large.
    """
    if diameter_nm == 0:
        return np.ones((1, len(k)))
    power, vectors = _leading([_Operator(k, area, diameter_nm)(0.0)], tolerance)
    return np.asarray(np.sqrt(power)[:, None] * vectors / np.sqrt(area))


class Blur(torch.nn.Module):
    """The same for blurs, and diameters of the bead, that differ from image to image, on one basis for all."""

    basis: Tensor
    series: Tensor

    def __init__(
        self,
        k: Float[Floats, "waves 3"],
        area: Float[Floats, " waves"],
        diameter_nm: float,
        tolerance: float,
        largest_nm2: float,
        bead_error_nm: float = 0.0,
    ) -> None:
        """As for ``coherent_factors``.

        ``largest_nm2`` is the largest variance of the blur, 0 for none, and ``bead_error_nm`` how far the bead's
        diameter may deviate.
        """
        super().__init__()
        self.largest_nm2, self.diameter_nm = largest_nm2, diameter_nm
        self.beads_nm = max(diameter_nm - bead_error_nm, 0.0), diameter_nm + bead_error_nm
        beads = [_Operator(k, area, size) for size in dict.fromkeys(self.beads_nm)]
        ends = [bead(variance) for bead in beads for variance in dict.fromkeys((0.0, largest_nm2))]
        _, vectors = _leading(ends, SHOWN * tolerance)
        self.register_buffer("basis", torch.from_numpy(vectors / np.sqrt(area)))
        counts = TABLE if largest_nm2 else 1, BEAD_TABLE if bead_error_nm else 1
        blurs, sizes = (chebyshev.chebpts1(count) for count in counts)
        smallest, largest = self.beads_nm
        values = []
        for size in sizes:
            bead = _Operator(k, area, (smallest + largest + size * (largest - smallest)) / 2)
            values.append([vectors @ bead(largest_nm2 * (1 + place) / 2) @ vectors.T for place in blurs])
        fits = [np.linalg.inv(chebyshev.chebvander(node, len(node) - 1)) for node in (sizes, blurs)]
        self.register_buffer("series", torch.from_numpy(np.einsum("as,vb,sbij->avij", fits[0], fits[1], values)))

    def forward(
        self, variance_nm2: Float[Tensor, " images"], larger_nm: Float[Tensor, " images"]
    ) -> Float[Tensor, "images factors waves"]:
        """Factors (B, C, J) in double precision for variances along each axis and beads so much larger, (B,) each.

        Any square root of the operator has the same focus.
        """
        sizes, blurs = (terms for terms, _ in self._terms(variance_nm2, larger_nm))
        return self._root(self._operator(sizes, blurs)).mT @ self.basis.double()

    def slopes(
        self, variance_nm2: Float[Tensor, " images"], larger_nm: Float[Tensor, " images"]
    ) -> tuple[Float[Tensor, "images factors waves"], Float[Tensor, "images factors waves"]]:
        """The derivatives (B, C, J) of the factors by the variance and by the diameter (Murray 2016, eq. 8)."""
        (sizes, sizes_slope), (blurs, blurs_slope) = self._terms(variance_nm2, larger_nm)
        root = self._root(self._operator(sizes, blurs))

        def along(change: Tensor) -> Tensor:
            inner = torch.linalg.solve_triangular(root, change, upper=False)
            inner = torch.linalg.solve_triangular(root, inner.mT, upper=False).mT
            half = inner.tril(-1) + torch.diag_embed(inner.diagonal(dim1=1, dim2=2) / 2)
            return (root @ half).mT @ self.basis.double()

        return along(self._operator(sizes, blurs_slope)), along(self._operator(sizes_slope, blurs))

    def _terms(self, variance_nm2: Tensor, larger_nm: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The polynomials in the bead's diameter and in the variance, with their slopes: (B, terms) each."""
        smallest, largest = self.beads_nm
        # Nothing is sharper than no blur, or smaller than a point.
        size, variance = (self.diameter_nm + larger_nm.double()).clamp_min(0), variance_nm2.double().clamp_min(0)
        terms = []
        for place, middle, half, count in (
            (size, (smallest + largest) / 2, (largest - smallest) / 2, self.series.shape[0]),
            (variance, self.largest_nm2 / 2, self.largest_nm2 / 2, self.series.shape[1]),
        ):
            values = polynomials((place - middle) / (half or 1.0), count)
            terms.append((values, slopes(values) / (half or 1.0)))
        return terms

    def _operator(self, sizes: Tensor, blurs: Tensor) -> Tensor:
        """The sum (B, C, C) of the series, for polynomials (B, terms) of either kind."""
        both = (sizes[:, :, None] * blurs[:, None]).flatten(1)
        return torch.tensordot(both, self.series.double().flatten(0, 1), dims=1)

    def _root(self, operator: Tensor) -> Tensor:
        floor = JITTER * torch.eye(operator.shape[-1], dtype=operator.dtype, device=operator.device)
        root: Tensor = torch.linalg.cholesky(
            operator + floor * operator.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None]
        )
        return root


class _Operator:
    """What a bead, blurred by some variance, does to pairs of waves, balanced by their solid angles: (J, J)."""

    def __init__(self, k: Floats, area: Floats, diameter_nm: float) -> None:
        self.squared = ((k[:, None] - k[None]) ** 2).sum(axis=-1)
        q = diameter_nm / 2 * np.sqrt(self.squared)
        safe = np.where(q < 1e-2, 1.0, q)
        ball = np.where(q < 1e-2, 1 - q**2 / 10, 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3)
        self.sharp = np.sqrt(area)[:, None] * ball * np.sqrt(area)

    def __call__(self, variance_nm2: float) -> Floats:
        return np.asarray(self.sharp * np.exp(-variance_nm2 * self.squared / 2))


def _leading(operators: Sequence[Floats], tolerance: float) -> tuple[Floats, Floats]:
    """The fewest eigenvalues (C,) of a sum of operators, from the largest, and eigenvectors (C, J) that keep each one.

    Each loses no more than ``tolerance`` (Frobenius) where it is confined to these vectors.
    """
    whole, least = np.sum(operators, axis=0), max(tolerance**2, 1e-14)
    for count in range(4, len(whole), 4):
        power, vectors = eigsh(whole, count, v0=np.sqrt(whole.diagonal()))
        order = np.argsort(power)[::-1]
        power, vectors = power[order], vectors[:, order]
        # Of the first 1, 2, ... vectors. Intensities add here, so the eigenvalues are already powers.
        lost = [1 - _growing(vectors.T @ each @ vectors) / (each**2).sum() for each in operators]
        enough = np.max(lost, axis=0) <= least
        # Half of a pair of equal ones, such as those along x and y, would make a round bead uneven.
        enough[:-1] &= power[1:] < ALIKE * power[:-1]
        if enough[:-1].any():
            needed = int(enough.argmax()) + 1
            return power[:needed], vectors[:, :needed].T
    raise InputError("the bead, or its blur, is too large for this engine")


def _growing(matrix: Floats) -> Floats:
    """The squared Frobenius norms of the leading 1 x 1, 2 x 2, ... blocks."""
    return np.diagonal((matrix**2).cumsum(axis=0).cumsum(axis=1))
