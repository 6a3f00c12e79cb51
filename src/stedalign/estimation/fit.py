"""The most probable parameters of the forward model: damped Gauss-Newton on Poisson counts, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from stedalign.estimation.bound import LEAST_EXPECTED_COUNT, covariance, smallest_eigenvalue, weighted_information
from stedalign.estimation.expected import Expected, expect
from stedalign.estimation.observed import Observed
from stedalign.focusing.focus import Focus
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Prior
from stedalign.imaging.planes import Planes

FIRST_DAMPING = 1e-3
HIGHEST_DAMPING = 1e8
LARGEST_DAMPING_AT_REST = 10.0
"""With more, steps are too short to tell that nothing is left to gain."""
SMALLEST_GAIN = 5e-2
"""Gain in twice the log-likelihood below which a fit is done: a fifth of a standard deviation, of all parameters."""
KEPT_PROMISE = 0.6
"""Share of the gain that the quadratic model promises below which derivatives are taken anew."""
LARGEST_EXCESS = 4.0
"""Standard deviations of chi-squared that chance explains."""
LEAST_DETERMINED = 1e-5
"""Smallest eigenvalue of the balanced Fisher matrix that still tells parameters apart; 1 if none were correlated."""


@runtime_checkable
class Model(Protocol):
    """What a fit needs of a forward model."""

    @property
    def focus(self) -> Focus: ...
    @property
    def planes(self) -> Planes | None: ...
    def __call__(self, parameters: Float[Tensor, "images parameters"], /) -> Float[Tensor, "images parts *pixels"]: ...
    def linearize(
        self, parameters: Float[Tensor, "images parameters"], /
    ) -> tuple[Float[Tensor, "images parts pixels"], Float[Tensor, "images parameters parts pixels"]]: ...


@runtime_checkable
class LitModel(Model, Protocol):
    """One whose scales and backgrounds follow from the rest."""

    pooled: int

    def intensity(self, parameters: Float[Tensor, "images parameters"], /) -> Float[Tensor, "images parts *pixels"]: ...


@dataclass(frozen=True)
class FitResult:
    """What a batch of B fits found, on the CPU in float64."""

    parameters: Float[Tensor, "fits parameters"]
    """(B, P), in the order of the model's ``ParameterLayout``."""
    covariance: Float[Tensor, "fits parameters parameters"]
    """(B, P, P), the inverse Fisher matrix at the solution."""
    deviance: Float[Tensor, " fits"]
    """(B,), twice the log-likelihood lost against a perfect model."""
    loss: Float[Tensor, " fits"]
    """(B,), the same with what the prior takes: the lowest of several fits is the most probable one."""
    reduced_chi2: Float[Tensor, " fits"]
    """(B,), Pearson's chi-squared over the degrees of freedom: 1 where the model explains the image."""
    chi2_sigma: Float[Tensor, " fits"]
    """(B,), how much that scatters by chance: each count's part has the variance 2 + 1 / its expectation."""
    converged: Bool[Tensor, " fits"]
    """(B,), bool."""
    determined: Bool[Tensor, " fits"]
    """(B,), bool: whether the image tells all parameters apart of which nothing is known before."""

    def rows(self, rows: Sequence[int]) -> FitResult:
        """Some of them, in this order."""
        return FitResult(*(getattr(self, part.name)[rows] for part in fields(self)))

    def item(self, row: int) -> FitResult:
        """One of them, as a batch of one."""
        return self.rows([row])

    def with_rows(self, rows: Sequence[int], others: FitResult) -> FitResult:
        """The batch with ``others`` in the place of ``rows``."""
        parts = [(getattr(self, part.name).clone(), getattr(others, part.name)) for part in fields(self)]
        for kept, new in parts:
            kept[rows] = new
        return FitResult(*(kept for kept, _ in parts))

    @classmethod
    def joined(cls, parts: Sequence[FitResult]) -> FitResult:
        """Several batches as one."""
        return cls(*(torch.cat([getattr(part, each.name) for part in parts]) for each in fields(cls)))


def explains(solution: FitResult, most_chi2: float) -> bool:
    """Whether noise explains all that one fit leaves: a reduced chi-squared up to ``most_chi2`` or within chance."""
    excess = float((solution.reduced_chi2 - 1) / solution.chi2_sigma)
    return bool(solution.converged) and (excess < LARGEST_EXCESS or float(solution.reduced_chi2) <= most_chi2)


def start_parameters(
    model: ForwardModel,
    observed: Observed,
    waves: Float[Tensor, "images modes"],
    shift_nm: Float[Tensor, "images 3"],
    free: Float[Tensor, "images free"] | None = None,
) -> Float[Tensor, "images parameters"]:
    """Parameters (B, P) for a wavefront (B, modes), shifts (B, 3) and free parameters (B, free), nominal without them.

    Scale and background of each part follow by linear least squares against what is ``observed``.
    """
    return with_light(model, observed, model.layout.pack_focus(waves.double(), shift_nm, free=free))


def with_light(
    model: LitModel,
    observed: Observed,
    focus_parameters: Float[Tensor, "images focus"],
) -> Float[Tensor, "images parameters"]:
    """Parameters (B, P) from those before scale and background, which follow by linear least squares."""
    with torch.no_grad():
        shape = model.intensity(focus_parameters.to(model.focus.scale.dtype)).flatten(2).double()
    data, weight = observed.counts.flatten(2).double() / model.pooled, observed.weight.flatten(2)
    believed = weight.sum(-1).clamp_min(1)
    shape_mean, data_mean = ((weight * part).sum(-1) / believed for part in (shape, data))
    centered = weight * (shape - shape_mean[..., None])
    slope = (centered * data).sum(-1) / centered.square().sum(-1).clamp_min(1e-30)
    least = observed.least_background(model.pooled)
    # A start that points the wrong way still needs a positive donut to improve.
    brightest = (weight * (data - data_mean[..., None])).amax(dim=(1, 2))[:, None]
    scale = slope.clamp_min(0.05 * brightest.clamp_min(1.0))
    background = torch.maximum(data_mean - scale * shape_mean, least + LEAST_EXPECTED_COUNT)
    return torch.cat([focus_parameters.double(), scale, background], dim=1)


def fit(
    model: Model,
    observed: Observed,
    start: Float[Tensor, "images parameters"],
    *,
    prior: Prior,
    iterations: int = 100,
    held: Bool[Tensor, "*images parameters"] | None = None,
) -> FitResult:
    """Fit what is ``observed`` from ``start`` (B, P); what is ``held`` (P,) or (B, P), bool, is known and stays there.

    The maximum a posteriori for Poisson counts and a ``prior`` (``Prior.of(model)`` knows nothing but bounds).
    Levenberg-Marquardt with the Fisher matrix as Hessian (Fisher scoring) and Marquardt's scaling (1963), each item
    with its own damping; a step is kept only where it is more probable. Derivatives cost several times what the model
    does: they are kept while steps keep their promise, and taken anew before a solution is believed. Parameters have
    bounds, at which they rest while the likelihood pulls them outwards (an active set). An item has converged when a
    full step in what is free would gain less than ``SMALLEST_GAIN``. What the planes of a volume have for themselves
    (``imaging.planes``) is found anew for all parameters that are tried, and eliminated from the Fisher matrix.
    """
    dtype, device = model.focus.scale.dtype, model.focus.scale.device
    extra, weight = (part.flatten(1).double().to(device) for part in (observed.extra, observed.weight))
    data = (observed.counts.flatten(1).double().to(device) + extra).clamp_min(0)
    best = start.double().to(device)
    size, count = best.shape
    believed, precision, lowest, highest = (
        part.to(device).expand(size, count) for part in (prior.mean, prior.precision, prior.lowest, prior.highest)
    )
    best = best.clamp(lowest, highest)
    known = (torch.zeros(count, dtype=torch.bool) if held is None else held).to(device).expand(size, count)
    damping = torch.full((size,), FIRST_DAMPING, dtype=torch.float64, device=device)
    running = torch.ones(size, dtype=torch.bool, device=device)
    # Derivatives are old once an item has moved, and have to be derived again where they mislead.
    converged, old, moved, derive = (torch.zeros(size, dtype=torch.bool, device=device) for _ in range(4))
    slopes = torch.zeros(size, count, data.shape[1], dtype=dtype, device=device)
    fisher, information = torch.zeros(2, size, count, count, dtype=torch.float64, device=device)
    gradient = torch.zeros_like(best)

    def expected(rows: Tensor, parameters: Tensor, values: Tensor) -> Expected:
        return expect(model.planes, values.flatten(1), parameters, data[rows], extra[rows], weight[rows])

    def loss(rows: Tensor, parameters: Tensor, seen: Expected) -> Tensor:
        away = (precision[rows] * (parameters - believed[rows]) ** 2).sum(-1)
        return deviance(data[rows], seen.light, weight[rows]) + away + seen.taken

    def take_derivatives(rows: Tensor) -> Expected:
        """What is expected, which comes with the derivatives."""
        values, derivatives = model.linearize(best[rows].to(dtype))
        seen = expected(rows, best[rows], values)
        slopes[rows] = derivatives.flatten(2)
        weights = weight[rows] / seen.light
        if model.planes is None or seen.found is None:
            fisher[rows] = weighted_information(slopes[rows], weights)
        else:
            slopes[rows] = model.planes.with_amounts(slopes[rows], seen.found.amounts)
            weighed = model.planes.weighed(slopes[rows], seen.found.changes, weights)
            fisher[rows] = weighed @ slopes[rows].double().mT
        derive[rows], old[rows], moved[rows] = False, False, True
        return seen

    with torch.no_grad():
        everything = torch.arange(size, device=device)
        seen = take_derivatives(everything)
        light, lost = seen.light, loss(everything, best, seen)
        for _ in range(iterations):
            rows = (derive & running).nonzero()[:, 0]
            if len(rows):
                take_derivatives(rows)
            rows = (moved & running).nonzero()[:, 0]
            if len(rows):
                missing = (weight[rows] * (data[rows] - light[rows]) / light[rows]).to(dtype)
                pull = torch.bmm(slopes[rows], missing[:, :, None])[..., 0].double()
                pull = pull - precision[rows] * (best[rows] - believed[rows])
                low, high = best[rows] <= lowest[rows], best[rows] >= highest[rows]
                resting = low & (pull < 0) | high & (pull > 0) | known[rows]
                certain = torch.diag_embed(precision[rows])
                information[rows], gradient[rows] = _freeze(fisher[rows] + certain, pull, resting)
                moved[rows] = False
                full_step = _damped_step(information[rows], gradient[rows], torch.full_like(damping[rows], 1e-9))
                done = (gradient[rows] * full_step).sum(-1) < SMALLEST_GAIN
                converged[rows] = done & ~old[rows]
                derive[rows] = done & old[rows]
                running &= ~converged
            if not running.any():
                break
            rows = (running & ~derive).nonzero()[:, 0]
            if len(rows) == 0:
                continue
            step = _damped_step(information[rows], gradient[rows], damping[rows])
            trial = (best[rows] + step).clamp(lowest[rows], highest[rows])
            seen = expected(rows, trial, model(trial.to(dtype)))
            value = loss(rows, trial, seen)
            gain, promise = lost[rows] - value, (gradient[rows] * step).sum(-1)
            better = gain > 0
            # What fails with derivatives of another place is tried again with its own.
            derive[rows] = torch.where(better, gain < KEPT_PROMISE * promise, old[rows])
            damping[rows] *= torch.where(better, 0.2, torch.where(old[rows], 1.0, 5.0))
            # Near an unaberrated focus the light hangs on some shifts by their squares, which no first derivative sees:
            # a full step then promises what it cannot keep.
            stuck = better & ~old[rows] & (gain < SMALLEST_GAIN) & (damping[rows] < LARGEST_DAMPING_AT_REST)
            converged[rows[stuck]] = True
            rows, kept = rows[better], better
            best[rows], light[rows], lost[rows] = trial[kept], seen.light[kept], value[kept]
            moved[rows], old[rows] = True, True
            running &= (damping <= HIGHEST_DAMPING) & ~converged

        if old.any():
            take_derivatives(old.nonzero()[:, 0])
        final, _ = _freeze(fisher + torch.diag_embed(precision), best, known)
        degrees = (weight.sum(-1) - (~known).sum(-1)).clamp_min(1)
        return FitResult(
            parameters=best.cpu(),
            covariance=(covariance(final) * (~known)[:, :, None] * (~known)[:, None]).cpu(),
            deviance=deviance(data, light, weight).cpu(),
            loss=lost.cpu(),
            reduced_chi2=(weight * (data - light).square() / light).sum(-1).div(degrees).cpu(),
            chi2_sigma=(weight * (2 + 1 / light)).sum(-1).sqrt().div(degrees).cpu(),
            converged=converged.cpu(),
            determined=(_least_determined(final, (precision == 0) & ~known) > LEAST_DETERMINED).cpu(),
        )


def _least_determined(information: Tensor, unheard: Tensor) -> Tensor:
    """Smallest eigenvalue (B,) of what the images alone tell of the parameters ``unheard`` (B, P) before.

    The prior tells the others apart, however much light there is.
    """
    unknown = unheard.any(dim=0)
    pairs = unheard[:, :, None] & unheard[:, None, :] | torch.diag_embed(~unheard)
    return smallest_eigenvalue(
        torch.where(pairs, information, torch.zeros_like(information))[:, unknown][:, :, unknown]
    )


def _freeze(information: Tensor, gradient: Tensor, resting: Tensor) -> tuple[Tensor, Tensor]:
    """Take resting parameters (B, P) out of the equations: their step becomes zero."""
    free = (~resting).double()
    frozen = torch.diag_embed(resting.double())
    return information * free[:, :, None] * free[:, None, :] + frozen, gradient * free


def deviance(
    data: Float[Tensor, "images pixels"], mean: Float[Tensor, "images pixels"], weight: Float[Tensor, "images pixels"]
) -> Float[Tensor, " images"]:
    """Poisson deviance (B,) of weighted counts (B, pixels): twice the log-likelihood lost against a perfect model.

    Infinite where the model left the numbers.
    """
    terms = mean - data + torch.xlogy(data, data / mean)
    return 2 * (weight * terms).sum(-1).nan_to_num(torch.inf)


def _damped_step(information: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    scale = information.diagonal(dim1=1, dim2=2).clamp_min(1e-12)
    system = information + torch.diag_embed(scale * damping[:, None])
    step, _ = torch.linalg.solve_ex(system, gradient)
    return step.nan_to_num(0.0, 0.0, 0.0)
