"""Maximum-likelihood fit of the forward model: damped Gauss-Newton on Poisson counts, in batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stedalign.estimation.bound import FLOOR, covariance, fisher_information
from stedalign.imaging.forward import ForwardModel

FIRST_DAMPING = 1e-3
HIGHEST_DAMPING = 1e8
SMALLEST_GAIN = 1e-2
"""Predicted gain in deviance below which a fit is done: a tenth of a standard deviation."""


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


def start_parameters(model: ForwardModel, counts: Tensor, waves: Tensor, shift_nm: Tensor) -> Tensor:
    """Parameters (B, P) for a wavefront (B, modes) and shifts (B, 3), with scale and background of each section
    by linear least squares against the picture ``counts`` (B, 3, N, N).
    """
    phase = torch.cat([waves, shift_nm], dim=1)
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
    model: ForwardModel, counts: Tensor, start: Tensor, *, read_noise: float = 0.0, iterations: int = 60
) -> FitResult:
    """Fit ``counts`` (B, 3, N, N) from ``start`` (B, P).

    Levenberg-Marquardt with the Fisher matrix as Hessian (Fisher scoring) and Marquardt's scaling (1963);
    damping is per item, and a step is kept only where it lowers the deviance.
    """
    dtype, device = model.focus.scale.dtype, model.focus.scale.device
    data = counts.flatten(1).double().to(device) + read_noise**2
    best = start.double().to(device)
    size = len(best)
    damping = torch.full((size,), FIRST_DAMPING, dtype=torch.float64, device=device)
    converged = torch.zeros(size, dtype=torch.bool, device=device)
    information = torch.zeros(size, best.shape[1], best.shape[1], dtype=torch.float64, device=device)
    gradient = torch.zeros_like(best)
    deviance = torch.full((size,), torch.inf, dtype=torch.float64, device=device)
    stale = torch.ones(size, dtype=torch.bool, device=device)

    def expected(parameters: Tensor) -> Tensor:
        return model(parameters.to(dtype)).flatten(1).double() + read_noise**2

    with torch.no_grad():
        deviance = _deviance(data, expected(best))
        for _ in range(iterations):
            todo = stale & ~converged
            if todo.any():
                mean, jacobian = model.linearize(best[todo].to(dtype))
                mean = mean.flatten(1).double() + read_noise**2
                jacobian = jacobian.flatten(2).double()
                information[todo] = fisher_information(jacobian, mean)
                residual = (data[todo] - mean) / mean.clamp_min(FLOOR)
                gradient[todo] = (jacobian @ residual[:, :, None])[..., 0]
                stale[todo] = False
            active = (~converged).nonzero()[:, 0]
            if len(active) == 0:
                break
            step = _damped_step(information[active], gradient[active], damping[active])
            gain = (gradient[active] * step).sum(-1)
            trial = _within_bounds(model, best[active] + step)
            value = _deviance(data[active], expected(trial))
            better = value < deviance[active]
            best[active[better]] = trial[better]
            deviance[active[better]] = value[better]
            stale[active[better]] = True
            damping[active] *= torch.where(better, 0.2, 5.0)
            stuck = damping[active] > HIGHEST_DAMPING
            done = (gain < SMALLEST_GAIN) & (better | (damping[active] > 1.0))
            converged[active[done | stuck]] = True

        mean, jacobian = model.linearize(best.to(dtype))
        mean = (mean.flatten(1).double() + read_noise**2).clamp_min(FLOOR)
        freedom = data.shape[1] - best.shape[1]
        return FitResult(
            parameters=best.cpu(),
            covariance=covariance(fisher_information(jacobian, mean)).cpu(),
            deviance=deviance.cpu(),
            reduced_chi2=((data - mean).square() / mean).sum(-1).div(freedom).cpu(),
            converged=converged.cpu(),
        )


def _deviance(data: Tensor, expected: Tensor) -> Tensor:
    """Poisson deviance (B,) of counts (B, pixels); infinite where the model left the numbers."""
    mean = expected.clamp_min(FLOOR)
    terms = mean - data + torch.xlogy(data, data / mean)
    return 2 * terms.sum(-1).nan_to_num(torch.inf)


def _damped_step(information: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    scale = information.diagonal(dim1=1, dim2=2).clamp_min(1e-12)
    system = information + torch.diag_embed(scale * damping[:, None])
    step, _ = torch.linalg.solve_ex(system, gradient)
    return step.nan_to_num(0.0, 0.0, 0.0)


def _within_bounds(model: ForwardModel, parameters: Tensor) -> Tensor:
    """Scales stay positive and backgrounds not negative: outside there is no likelihood."""
    bounded = parameters.clone()
    bounded[:, model.scale].clamp_(min=FLOOR)
    bounded[:, model.background].clamp_(min=0.0)
    return bounded
