"""Maximum-likelihood fit of the forward model: damped Gauss-Newton on Poisson counts, in batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stedalign.estimation.bound import FLOOR, covariance, fisher_information, smallest_eigenvalue
from stedalign.imaging.forward import ForwardModel

FIRST_DAMPING = 1e-3
HIGHEST_DAMPING = 1e8
SMALLEST_GAIN = 1e-2
"""Gain in log-likelihood below which a fit is done: about a tenth of a standard deviation."""
LEAST_DETERMINED = 1e-5
"""Smallest eigenvalue of the balanced Fisher matrix that still tells parameters apart; 1 if none were correlated."""


@dataclass(frozen=True)
class FitResult:
    """What a batch of B fits found, on the CPU in float64."""

    parameters: Tensor
    """(B, P), in the order of ``ForwardModel.names``."""
    covariance: Tensor
    """(B, P, P), the inverse Fisher matrix at the solution."""
    deviance: Tensor
    """(B,), twice the log-likelihood lost against a perfect model."""
    reduced_chi2: Tensor
    """(B,), Pearson's chi-squared over the degrees of freedom: 1 where the model explains the picture."""
    converged: Tensor
    """(B,), bool."""
    determined: Tensor
    """(B,), bool: whether the picture tells all parameters apart."""


def start_parameters(
    model: ForwardModel, counts: Tensor, waves: Tensor, shift_nm: Tensor, beam: Tensor | None = None
) -> Tensor:
    """Parameters (B, P) for a wavefront (B, modes), shifts (B, 3) and the beam's free parameters (B, free), its own
    without them, with scale and background of each section by linear least squares against the picture ``counts``
    (B, 3, N, N).
    """
    phase = model.focus.rest.double().repeat(len(waves), 1)
    phase[:, : len(model.modes)], phase[:, model.shift] = waves, shift_nm
    if beam is not None:
        phase[:, model.beam] = beam
    with torch.no_grad():
        shape = model.intensity(phase.to(model.focus.scale.dtype)).flatten(2).double()
    data = counts.flatten(2).double()
    centered = shape - shape.mean(-1, keepdim=True)
    slope = (centered * data).sum(-1) / centered.square().sum(-1)
    # A start that points the wrong way still needs a positive donut to improve.
    scale = slope.clamp_min(0.05 * data.amax(dim=(1, 2))[:, None].clamp_min(1.0))
    background = (data.mean(-1) - scale * shape.mean(-1)).clamp_min(FLOOR)
    return torch.cat([phase.double(), scale, background], dim=1)


def fit(
    model: ForwardModel,
    counts: Tensor,
    start: Tensor,
    *,
    read_noise: float = 0.0,
    iterations: int = 60,
    held: Tensor | None = None,
) -> FitResult:
    """Fit ``counts`` (B, 3, N, N) from ``start`` (B, P); parameters in ``held`` (P,), bool, are known and stay there.

    Levenberg-Marquardt with the Fisher matrix as Hessian (Fisher scoring) and Marquardt's scaling (1963), each item
    with its own damping; a step is kept only where it lowers the deviance. Scales and backgrounds have a lower bound,
    at which they rest while the likelihood pulls them outwards (an active set). An item has converged when a full step
    in what is free would gain less than ``SMALLEST_GAIN``. Read noise counts as further Poisson counts of its variance
    (Snyder et al. 1995).
    """
    dtype, device = model.focus.scale.dtype, model.focus.scale.device
    extra = read_noise**2
    data = (counts.flatten(1).double().to(device) + extra).clamp_min(0)
    lowest = torch.full((start.shape[1],), -torch.inf, dtype=torch.float64, device=device)
    lowest[model.scale], lowest[model.background] = FLOOR, -0.5 * extra
    best = torch.maximum(start.double().to(device), lowest)
    size, count = best.shape
    known = torch.zeros(count, dtype=torch.bool, device=device) if held is None else held.to(device)
    damping = torch.full((size,), FIRST_DAMPING, dtype=torch.float64, device=device)
    running = torch.ones(size, dtype=torch.bool, device=device)
    converged, stale = torch.zeros_like(running), torch.ones_like(running)
    information = torch.zeros(size, count, count, dtype=torch.float64, device=device)
    gradient = torch.zeros_like(best)

    def expected(parameters: Tensor) -> Tensor:
        return (model(parameters.to(dtype)).flatten(1).double() + extra).clamp_min(FLOOR)

    with torch.no_grad():
        deviance = _deviance(data, expected(best))
        for _ in range(iterations):
            todo = (stale & running).nonzero()[:, 0]
            if len(todo):
                mean, jacobian = model.linearize(best[todo].to(dtype))
                weighted = (mean.flatten(1).double() + extra).clamp_min(FLOOR)
                residual = (data[todo] - weighted) / weighted
                slopes = jacobian.flatten(2).double()
                pull = (slopes @ residual[:, :, None])[..., 0]
                resting = (best[todo] <= lowest) & (pull < 0) | known
                information[todo], gradient[todo] = _freeze(fisher_information(slopes, mean, read_noise), pull, resting)
                stale[todo] = False
                full_step = _damped_step(information[todo], gradient[todo], torch.full_like(damping[todo], 1e-9))
                done = (gradient[todo] * full_step).sum(-1) < SMALLEST_GAIN
                converged[todo[done]] = True
                running[todo[done]] = False
            active = running.nonzero()[:, 0]
            if len(active) == 0:
                break
            step = _damped_step(information[active], gradient[active], damping[active])
            trial = torch.maximum(best[active] + step, lowest)
            value = _deviance(data[active], expected(trial))
            better = value < deviance[active]
            best[active[better]] = trial[better]
            deviance[active[better]] = value[better]
            stale[active[better]] = True
            damping[active] *= torch.where(better, 0.2, 5.0)
            running[active[damping[active] > HIGHEST_DAMPING]] = False

        mean, jacobian = model.linearize(best.to(dtype))
        final, _ = _freeze(fisher_information(jacobian, mean, read_noise), best, known.expand_as(best))
        mean = (mean.flatten(1).double() + extra).clamp_min(FLOOR)
        return FitResult(
            parameters=best.cpu(),
            covariance=(covariance(final) * ~known[:, None] * ~known).cpu(),
            deviance=deviance.cpu(),
            reduced_chi2=((data - mean).square() / mean).sum(-1).div(data.shape[1] - int((~known).sum())).cpu(),
            converged=converged.cpu(),
            determined=(smallest_eigenvalue(final) > LEAST_DETERMINED).cpu(),
        )


def _freeze(information: Tensor, gradient: Tensor, resting: Tensor) -> tuple[Tensor, Tensor]:
    """Take resting parameters (B, P) out of the equations: their step becomes zero."""
    free = (~resting).double()
    frozen = torch.diag_embed(resting.double())
    return information * free[:, :, None] * free[:, None, :] + frozen, gradient * free


def _deviance(data: Tensor, mean: Tensor) -> Tensor:
    """Poisson deviance (B,) of counts (B, pixels); infinite where the model left the numbers."""
    terms = mean - data + torch.xlogy(data, data / mean)
    return 2 * terms.sum(-1).nan_to_num(torch.inf)


def _damped_step(information: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    scale = information.diagonal(dim1=1, dim2=2).clamp_min(1e-12)
    system = information + torch.diag_embed(scale * damping[:, None])
    step, _ = torch.linalg.solve_ex(system, gradient)
    return step.nan_to_num(0.0, 0.0, 0.0)
