"""The likelihood of one image around a fit, as matrices of the size of the parameters (Gauss-Newton)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stedalign.estimation.bound import LEAST_EXPECTED_COUNT
from stedalign.estimation.expected import of_observed
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.observed import Observed
from stedalign.imaging.forward import ForwardModel

MOST_CORRELATED = 2600
"""Pixels of a part whose covariance is inverted as it is; that of larger ones takes too long."""
UNBELIEVED = 1e9
"""Variance of a pixel that is not believed, over the usual one."""


@dataclass(frozen=True, eq=False)
class Linearized:
    """One image's likelihood around the parameters of a fit, part by part.

    Pixels scatter by noise, each by itself, and by the misfit, in which neighbors are alike.
    """

    parameters: Float[Tensor, " parameters"]
    loss: float
    """Squared residuals over their covariance."""
    information: Float[Tensor, "parts parameters parameters"]
    gradient: Float[Tensor, "parts parameters"]
    noise: Float[Tensor, "parameters parameters"]
    """Covariance of the gradient by noise alone."""
    misfit: Float[Tensor, "parameters parameters"]
    """By the misfit alone."""

    @classmethod
    def at(
        cls, model: ForwardModel, observed: Observed, misfit: Misfit, parameters: Float[Tensor, " parameters"]
    ) -> Linearized:
        """Of one image ``observed`` at ``parameters`` (P,), where the model fails by ``misfit``.

        Where parts have more pixels than ``MOST_CORRELATED`` they are weighed as if all scattered by themselves; their
        correlation then stands in the covariance of the gradient alone (the sandwich of White 1982).
        """
        with torch.no_grad():
            values, derivatives = model.linearize(parameters[None].to(model.focus.scale.dtype))
        extra, weight, data = (
            part[0].flatten(1).double() for part in (observed.extra, observed.weight, observed.counts)
        )
        expected, slopes = values[0].double(), derivatives[0].double()
        noise = (expected + extra).clamp_min(LEAST_EXPECTED_COUNT)
        planes, found = model.planes, of_observed(model.planes, values, parameters[None], observed).found
        if planes is not None and found is not None:
            slopes = planes.with_amounts(slopes.flatten(1)[None], found.amounts)[0].unflatten(1, expected.shape)
        missing = weight * (data - expected)
        # What is missing is weighed as the derivatives are.
        columns = torch.cat([slopes, missing[None]])
        if misfit.counts == 0 or noise.shape[1] > MOST_CORRELATED or planes is not None:
            alone = weight / (noise + misfit.counts**2)
            weighted = columns * alone
            if planes is not None and found is not None:
                weighted = planes.weighed(columns.flatten(1)[None], found.changes, alone)[0].unflatten(1, noise.shape)
            alike = misfit.correlated(weighted.unflatten(2, model.shape)).flatten(2) * misfit.counts**2
        else:
            correlation = misfit.correlation(model.shape)
            doubt = (1 - weight) * UNBELIEVED * noise.mean()
            covariances = torch.diag_embed(noise + doubt) + misfit.counts**2 * correlation
            roots = torch.linalg.cholesky(covariances)
            weighted = torch.cholesky_solve(columns.permute(1, 2, 0), roots).permute(2, 0, 1)
            alike = torch.einsum("xy,pjy->pjx", misfit.counts**2 * correlation, weighted)
        products = torch.einsum("pjx,qjx->jpq", weighted, columns)
        noisy = torch.einsum("pjx,jx,qjx->pq", weighted, noise, weighted)
        if planes is not None and found is not None:
            noisy = noisy + planes.scattered(weighted.flatten(1)[None], found.changes)[0]
        failing = torch.einsum("pjx,qjx->pq", alike, weighted)
        return cls(
            parameters,
            loss=float(products[:, -1, -1].sum()),
            information=products[:, :-1, :-1],
            gradient=products[:, -1, :-1],
            noise=noisy[:-1, :-1],
            misfit=failing[:-1, :-1],
        )
