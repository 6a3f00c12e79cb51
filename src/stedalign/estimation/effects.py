"""What an image needs beside the wavefront and the usual nuisances, decided by predicting sections that were left out.

More freedom always explains the sections better that a fit sees, and often worse those that it does not. So one whole
section is left out in turn, predicted from the others up to its own light and place, and an effect is taken only where
it predicts better beyond chance. All that follows from one linearization of the model at the fit (Gauss-Newton), in
matrices as large as the number of parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from stedalign.estimation.bound import LEAST_EXPECTED_COUNT, covariance
from stedalign.estimation.fit import FitResult, explains, fit
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.observed import Observed
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Prior
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.parameters import EZ_WEIGHT, FILL_CENTERS, PIXEL_ERRORS, TAPER
from stedalign.optics.wavefront import ModeSet
from stedalign.optics.zernike import Mode

HIGHER_MODES = "higher modes"
HIGHER_ORDERS = 5, 6
HIGHER_WAVES = 0.01
"""Standard deviation of each higher mode where an image needs them."""
MOST_EFFECTS = 4
BEYOND_CHANCE = 12.0
"""Gain in twice the log-likelihood of sections left out, over what varies as one, that chance does not explain."""
LEAST_GAIN = 0.02
"""Share of the misfit that an effect must take from the sections left out, where noise is not what limits."""
EFFECT_FIT_STEPS = 40
MISFIT_ROUNDS = 3
"""Fits of one model: of noise alone, and with the misfit as further noise, until it no longer changes."""


@dataclass(frozen=True)
class Effect:
    """Something real instruments do that the usual fit holds as the setup says, or nearly so."""

    name: str
    sigmas: dict[str, float]
    """Standard deviation of each of its parameters where it is taken, of ``optics.parameters``."""
    higher_modes: bool = False


EFFECTS = (
    Effect(HIGHER_MODES, {}, higher_modes=True),
    Effect("lateral scale", dict.fromkeys(PIXEL_ERRORS[:2], 0.05)),
    Effect("fill", {TAPER: 1.0, **dict.fromkeys(FILL_CENTERS, 0.15)}),
    Effect("weight of Ez", {EZ_WEIGHT: 0.3}),
)


def higher_modes(modes: ModeSet) -> ModeSet:
    """All modes of ``HIGHER_ORDERS`` that are not among ``modes``."""
    every = (Mode(n, m) for n in HIGHER_ORDERS for m in range(-n, n + 1, 2))
    return ModeSet(tuple(mode for mode in every if mode not in modes))


@dataclass(frozen=True, eq=False)
class Explanation:
    """The fit of a model with the effects that an image needs, and how far its parameters can be believed."""

    model: ForwardModel
    solution: FitResult
    misfit: Misfit
    effects: tuple[str, ...]
    noise_covariance: Float[Tensor, "parameters parameters"]
    """Of the parameters (P, P), from noise alone."""
    misfit_covariance: Float[Tensor, "parameters parameters"]
    """From what the model leaves beyond noise."""
    spread: Float[Tensor, "parameters parameters"]
    """From what the fit would find with the effects that it did not take."""

    @property
    def total_covariance(self) -> Float[Tensor, "parameters parameters"]:
        """Of the parameters (P, P), from all of it."""
        return self.noise_covariance + self.misfit_covariance + self.spread

    def with_spread(self, spread: Float[Tensor, "parameters parameters"]) -> Explanation:
        """The same with another spread (P, P)."""
        return replace(self, spread=spread)


@dataclass(frozen=True, eq=False)
class Linearized:
    """One image's likelihood around the parameters of a fit, part by part."""

    parameters: Float[Tensor, " parameters"]
    information: Float[Tensor, "parts parameters parameters"]
    gradient: Float[Tensor, "parts parameters"]
    weighted: Float[Tensor, "parameters parts *pixels"]
    """Derivatives over the variance of each pixel."""
    variance: Float[Tensor, " parts *pixels"]
    """Of noise alone."""

    @classmethod
    def at(
        cls, model: ForwardModel, observed: Observed, model_counts: float, parameters: Float[Tensor, " parameters"]
    ) -> Linearized:
        """Of one image ``observed`` whose pixels the model fails by ``model_counts``, in photons."""
        with torch.no_grad():
            values, derivatives = model.linearize(parameters[None].to(model.focus.scale.dtype))
        expected, slopes = values[0].double(), derivatives[0].double()
        extra, weight, data = (
            part[0].flatten(1) for part in (observed.extra, observed.weight, observed.counts.double())
        )
        noise = (expected + extra).clamp_min(LEAST_EXPECTED_COUNT)
        weighted = slopes * (weight / (noise + model_counts**2))
        return cls(
            parameters,
            torch.einsum("pjx,qjx->jpq", weighted, slopes),
            torch.einsum("pjx,jx->jp", weighted, data - expected),
            weighted.unflatten(2, model.shape),
            noise.unflatten(1, model.shape),
        )


@dataclass(frozen=True, eq=False)
class Freedom:
    """Which parameters (P,) are free, and the prior of these."""

    free: Bool[Tensor, " parameters"]
    mean: Float[Tensor, " parameters"]
    precision: Float[Tensor, " parameters"]


def freedom(layout: ParameterLayout, prior: Prior, usual: Sequence[str], effects: Sequence[Effect]) -> Freedom:
    """What is free with some ``effects``, beside the ``usual`` free parameters and the modes of a setup.

    ``prior`` is that of the usual ones.
    """
    free = torch.ones(len(layout), dtype=torch.bool)
    precision = prior.precision.clone()
    free[layout.free] = torch.tensor([name in usual for name in layout.free_names], dtype=torch.bool)
    higher = torch.tensor([mode.n in HIGHER_ORDERS for mode in layout.mode_set])
    free[layout.modes] = ~higher
    for effect in effects:
        for name, sigma in effect.sigmas.items():
            for column in layout.columns([name]):
                free[column], precision[column] = True, sigma**-2
        if effect.higher_modes:
            free[layout.modes] |= higher
            precision[layout.modes] = torch.where(higher, HIGHER_WAVES**-2, precision[layout.modes])
    return Freedom(free, prior.mean, precision)


def step(at: Linearized, given: Freedom, without: int | None = None) -> Float[Tensor, " parameters"]:
    """The Gauss-Newton step (P,) of what is free, from all parts of the image but one."""
    seen = [part for part in range(len(at.information)) if part != without]
    information = at.information[seen].sum(0) + torch.diag(given.precision)
    gradient = at.gradient[seen].sum(0) - given.precision * (at.parameters - given.mean)
    return _solved(information, gradient, given.free)


def loss_left_out(at: Linearized, given: Freedom, layout: ParameterLayout) -> Float[Tensor, " parts"]:
    """Twice the log-likelihood lost (parts,), against that of the fit, by predicting each part from the others.

    Its own light and place are no prediction: they are fitted.
    """
    losses = []
    for part in range(len(at.information)):
        own = torch.zeros_like(given.free)
        own[own_columns(layout, part)] = True
        moved = step(at, given, without=part)
        information = at.information[part] + torch.diag(given.precision * own)
        pull = at.gradient[part] - at.information[part] @ moved
        pull = pull - given.precision * own * (at.parameters + moved - given.mean)
        moved = moved + _solved(information, pull, own)
        losses.append(moved @ at.information[part] @ moved - 2 * at.gradient[part] @ moved)
    return torch.stack(losses)


def own_columns(layout: ParameterLayout, part: int) -> list[int]:
    """The columns of a part's own place and light."""
    drifts = range(layout.drift.start + 3 * part, layout.drift.start + 3 * part + 3) if layout.drifting else ()
    return [*drifts, layout.scale.start + part, layout.background.start + part]


def _solved(information: Tensor, gradient: Tensor, free: Tensor) -> Tensor:
    solution = torch.zeros_like(gradient)
    rows = information[free][:, free]
    size = rows.diagonal().clamp_min(1e-30).sqrt()
    balanced = rows / (size[:, None] * size)
    solution[free] = (
        torch.linalg.lstsq(balanced, (gradient[free] / size)[:, None], driver="gelsd").solution[:, 0] / size
    )
    return solution


def explain(
    model: ForwardModel,
    observed: Observed,
    start: Float[Tensor, "1 parameters"],
    prior: Prior,
    usual: Sequence[str],
    effects: Sequence[Effect] = (),
    *,
    settled: bool = False,
) -> Explanation:
    """Finish the fit of one image ``observed``, whose pixels are the model's, with those ``effects`` that it needs.

    ``start`` is the fit of the ``usual`` free parameters, ``prior`` that of all in the ``model``. Where it is
    ``settled``, noise explains what it leaves. With fewer than three parts none is left out, and no effect taken. What
    effects not taken would change is part of the error bars.
    """
    layout = model.layout
    taken: list[Effect] = []
    given = freedom(layout, prior, usual, taken)
    fitted = _fitted(model, observed, start, prior, given, 1 if settled else MISFIT_ROUNDS)
    while len(taken) < MOST_EFFECTS:
        at = Linearized.at(model, observed, fitted.misfit.counts, fitted.solution.parameters[0])
        left = [effect for effect in effects if effect not in taken]
        if not left or len(observed.counts[0]) < 3:
            break
        with_each = [freedom(layout, prior, usual, [*taken, effect]) for effect in left]
        usually = loss_left_out(at, given, layout).sum()
        gains = [float(usually - loss_left_out(at, each, layout).sum()) for each in with_each]
        best = max(range(len(left)), key=gains.__getitem__)
        if gains[best] < _least_gain(observed, at, fitted.misfit):
            break
        taken.append(left[best])
        given = with_each[best]
        fitted = _fitted(model, observed, fitted.solution.parameters, prior, given, MISFIT_ROUNDS)
    at = Linearized.at(model, observed, fitted.misfit.counts, fitted.solution.parameters[0])
    noise, beyond = believed(at, given, fitted.misfit)
    others = [freedom(layout, prior, usual, [*taken, effect]) for effect in effects if effect not in taken]
    names = tuple(effect.name for effect in taken)
    return Explanation(model, fitted.solution, fitted.misfit, names, noise, beyond, _spread(at, others))


def believed(
    at: Linearized, given: Freedom, misfit: Misfit
) -> tuple[Float[Tensor, "parameters parameters"], Float[Tensor, "parameters parameters"]]:
    """Covariances (P, P) of what is free: from noise with the prior, and from a misfit that is correlated.

    The sandwich of White (1982): the fit weighs pixels as if they were independent, and they are not.
    """
    free = given.free.double()
    information = (at.information.sum(0) + torch.diag(given.precision)) * free[:, None] * free
    inverse = covariance((information + torch.diag(1 - free))[None])[0] * free[:, None] * free
    flat = at.weighted.flatten(2)
    noise = torch.einsum("pjx,jx,qjx->pq", flat, at.variance.flatten(1), flat) + torch.diag(given.precision)
    alike = torch.einsum("pjx,qjx->pq", misfit.correlated(at.weighted).flatten(2), flat) * misfit.counts**2
    return inverse @ noise @ inverse, inverse @ alike @ inverse


class Fitted(NamedTuple):
    """A fit and what it leaves."""

    solution: FitResult
    misfit: Misfit


def _fitted(
    model: ForwardModel, observed: Observed, start: Tensor, prior: Prior, given: Freedom, rounds: int
) -> Fitted:
    """The fit of what is free, first as if noise were all, and then with what that leaves as further noise."""
    prior, free = replace(prior, precision=given.precision), int(given.free.sum())
    solution = fit(model, observed, start, prior=prior, iterations=EFFECT_FIT_STEPS, held=~given.free)
    misfit = Misfit.of_fit(model, observed, solution.parameters, free)
    if explains(solution) or rounds == 1:
        return Fitted(solution, replace(misfit, counts=0.0, fraction=0.0))
    for _ in range(rounds - 1):
        further = torch.full(observed.counts.shape[:2], misfit.counts**2, dtype=torch.float64)
        noisy, begin = observed.with_more_noise(further), solution.parameters
        solution = fit(model, noisy, begin, prior=prior, iterations=EFFECT_FIT_STEPS, held=~given.free)
        misfit = Misfit.of_fit(model, observed, solution.parameters, free)
    return Fitted(solution, misfit)


def _least_gain(observed: Observed, at: Linearized, misfit: Misfit) -> float:
    """Gain on sections left out that is beyond chance, where pixels that vary as one count as one."""
    weight = observed.weight[0]
    beyond = misfit.counts**2
    share = float((weight * beyond / (at.variance + beyond)).sum() / weight.sum())
    pixels = float(weight.sum())
    return max(BEYOND_CHANCE * (1 + share * (misfit.pixels_alike - 1)), LEAST_GAIN * share * pixels)


def _spread(at: Linearized, others: Sequence[Freedom]) -> Tensor:
    """Covariance (P, P) of the steps that the fit would take with each of the ``others``."""
    steps = torch.stack([step(at, other) for other in others]) if others else torch.zeros(1, len(at.parameters))
    return steps.double().T @ steps.double() / len(steps)
