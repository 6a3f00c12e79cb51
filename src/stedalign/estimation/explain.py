"""The fit of one image with the effects that it needs, and how far each parameter can then be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stedalign.estimation.bound import covariance
from stedalign.estimation.effects import EFFECTS, Effect, Freedom, Usual, loss, loss_left_out, step
from stedalign.estimation.fit import SMALLEST_GAIN, FitResult, explains, fit
from stedalign.estimation.fits import start_at
from stedalign.estimation.linearized import Linearized
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.models import Models
from stedalign.estimation.observed import Observed
from stedalign.estimation.propose import Proposal
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Prior
from stedalign.optics.parameters import PINHOLE

LEAST_PARTS = 3
"""Of an image of which one is left out."""
NARROW = next(effect for effect in EFFECTS if PINHOLE in effect.sigmas)
PINHOLES = 0.1, 1.0
"""Where fits with a pinhole begin: 2.2 and 1 Airy units, as the table's parameter."""
NARROWED, LEAST_NARROWED = 0.3, 0.01
"""What a pinhole must leave unexplained at most, over what the usual fit does, and where it is not asked."""
MOST_EFFECTS = 5
BEYOND_CHANCE, BEYOND_NOISE = 15.0, 40.0
"""Gain in twice the log-likelihood of sections left out that chance does not explain; and what it must be where noise
explains all that is left, for then an effect that is not there may stand in for what no model knows."""
FIT_STEPS, PINHOLE_STEPS = 40, 20
"""Of a fit at most; and of those that ask for a pinhole, of which the likeliest is finished."""
MISFIT_ROUNDS = 3
"""Fits of one model: of noise alone, and with the misfit that they leave as further noise."""
STEP_SHARES = 1.0, 0.3
LARGEST_GROWTH = 1.1
"""How much more than the assumed misfit they may leave."""
CORRELATED_STEPS = 3
"""Gauss-Newton steps that know how the misfit is correlated."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """The fit of a model with the effects that an image needs, and how far its parameters can be believed."""

    model: ForwardModel
    solution: FitResult
    misfit: Misfit
    effects: tuple[str, ...]
    given: Freedom
    """What was free in the fit, and what was known of it before."""
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


class Fitted(NamedTuple):
    """A fit and what it leaves."""

    solution: FitResult
    misfit: Misfit


def explained(
    models: Models, observed: Observed, solution: FitResult, *, most_chi2: float, plainly: bool = False
) -> Explanation:
    """The fit of one image ``observed``, begun from the usual one, with the effects that it needs.

    Noise may be all that is left up to a reduced chi-squared of ``most_chi2``. ``plainly`` without any effects, as
    where the wavefront is beyond the model that has them, or there is one part alone.
    """
    plainly = plainly or len(models.view.parts) < 2 or models.for_fit(solution) is not models.ordinary
    spread, settled = None, explains(solution, most_chi2)
    if not plainly:
        begin = models.in_whole(solution.parameters)
        explanation = _explain(models, models.whole, observed, begin, most_chi2, settled=settled)
        # The model with all effects is coarser, which may look like one: the image itself must be likelier with it.
        gain = float(solution.loss - explanation.solution.loss)
        if explanation.effects and (gain > BEYOND_NOISE or not settled):
            return explanation
        spread = models.from_whole(explanation.spread)
    model = models.for_fit(solution)
    plain = _explain(models, model, observed, solution.parameters, most_chi2, settled=settled, effects=())
    return plain if spread is None else replace(plain, spread=spread)


def explained_by_pinhole(
    models: Models, observed: Observed, solution: FitResult, starts: Sequence[Proposal], *, most_chi2: float
) -> Explanation | None:
    """The fit with a pinhole where that explains one image far better than the usual fit ``solution``; else None.

    A narrow pinhole changes an image so much that the usual fit ends anywhere: this one begins at the ``starts``, too.
    """
    model = models.for_fit(solution)
    before = Misfit.of_fit(model, observed.binned(model), solution.parameters, len(model.layout)).share
    usually = PINHOLE in models.layout.free_names
    if usually or len(models.view.parts) < LEAST_PARTS or before < LEAST_NARROWED:
        return None
    whole = models.whole
    binned, usual = observed.binned(whole), _usual(models, whole, observed)
    (column,) = whole.layout.columns([PINHOLE])
    begin = torch.cat([solution.parameters, *(start_at(models.ordinary, observed, start) for start in starts)])
    begin = models.in_whole(begin).repeat(len(PINHOLES), 1)
    begin[:, column] = torch.tensor(PINHOLES).double().repeat_interleave(1 + len(starts))
    given = usual.with_effects([NARROW], _crest(whole, begin[:1]))
    several, prior = binned.repeated(len(begin)), replace(usual.prior, precision=given.precision)
    ends = fit(whole, several, begin, prior=prior, iterations=PINHOLE_STEPS, held=~given.free)
    best = ends.item(int(ends.loss.nan_to_num(torch.inf).argmin()))
    after = Misfit.of_fit(whole, binned, best.parameters, int(given.free.sum())).share
    if after > NARROWED * before:
        return None
    settled = explains(best, most_chi2)
    return _explain(models, whole, observed, best.parameters, most_chi2, settled=settled, first=(NARROW,))


def _explain(
    models: Models,
    model: ForwardModel,
    observed: Observed,
    start: Tensor,
    most_chi2: float,
    *,
    settled: bool,
    effects: Sequence[Effect] = EFFECTS,
    first: Sequence[Effect] = (),
) -> Explanation:
    """Finish the fit of one image with those ``effects`` that it needs, beginning with the ``first`` ones.

    Where it is ``settled``, noise explains what the ``start`` leaves. An effect is taken where it predicts sections
    that were left out better beyond chance; with fewer than three parts none is left out, and no effect taken. What
    the effects not taken would change is part of the error bars.
    """
    usual, crest, observed = _usual(models, model, observed), _crest(model, start), observed.binned(model)
    taken = list(first)
    given = usual.with_effects(taken, crest)
    fitted = _fitted(model, observed, start, usual, given, most_chi2, settled=settled)
    at = Linearized.at(model, observed, fitted.misfit, fitted.solution.parameters[0])
    while len(taken) < MOST_EFFECTS and len(model.view.parts) >= LEAST_PARTS:
        left = [effect for effect in effects if effect not in taken]
        if not left:
            break
        with_each = [usual.with_effects([*taken, effect], crest) for effect in left]
        usually = loss_left_out(at, given, model.layout).sum()
        gains = [float(usually - loss_left_out(at, each, model.layout).sum()) for each in with_each]
        best = max(range(len(left)), key=gains.__getitem__)
        if gains[best] < (BEYOND_CHANCE if fitted.misfit.counts else BEYOND_NOISE):
            break
        taken.append(left[best])
        given = with_each[best]
        fitted = _fitted(model, observed, fitted.solution.parameters, usual, given, most_chi2)
        at = Linearized.at(model, observed, fitted.misfit, fitted.solution.parameters[0])
    noise, beyond = covariances(at, given)
    others = [usual.with_effects([*taken, effect], crest) for effect in effects if effect not in taken]
    names = tuple(effect.name for effect in taken)
    return Explanation(model, fitted.solution, fitted.misfit, names, given, noise, beyond, _spread(at, others))


def _usual(models: Models, model: ForwardModel, observed: Observed) -> Usual:
    least = observed.binned(model).least_background(model.pooled)
    prior = Prior.of(model, models.nuisances, least)
    return Usual(model.layout, prior, models.layout.free_names, len(models.modes))


def _crest(model: ForwardModel, start: Tensor) -> float:
    return float(start[0, model.layout.scale].max())


def _fitted(
    model: ForwardModel,
    observed: Observed,
    start: Tensor,
    usual: Usual,
    given: Freedom,
    most_chi2: float,
    *,
    settled: bool = False,
) -> Fitted:
    """The fit of what is free: as if noise were all, and then with what that leaves as further noise."""
    prior, free = replace(usual.prior, precision=given.precision), int(given.free.sum())
    solution = fit(model, observed, start, prior=prior, iterations=FIT_STEPS, held=~given.free)
    misfit = Misfit.of_fit(model, observed, solution.parameters, free)
    if settled or explains(solution, most_chi2):
        return Fitted(solution, replace(misfit, counts=0.0, fraction=0.0))
    for _ in range(MISFIT_ROUNDS - 1):
        further = torch.full(observed.counts.shape[:2], misfit.counts**2, dtype=torch.float64)
        noisy, begin = observed.with_more_noise(further), solution.parameters
        solution = fit(model, noisy, begin, prior=prior, iterations=FIT_STEPS, held=~given.free)
        misfit = Misfit.of_fit(model, observed, solution.parameters, free)
    return _finished(model, observed, Fitted(solution, misfit), given)


def _finished(model: ForwardModel, observed: Observed, fitted: Fitted, given: Freedom) -> Fitted:
    """The fit after some steps by the likelihood of a correlated misfit, as long as they gain.

    And as long as what they leave is no larger than the misfit that this likelihood assumes.
    """

    def left(parameters: Tensor) -> Misfit:
        return Misfit.of_fit(model, observed, parameters[None], int(given.free.sum()))

    at = Linearized.at(model, observed, fitted.misfit, fitted.solution.parameters[0])
    for _ in range(CORRELATED_STEPS):
        whole_step, better = step(at, given), None
        for share in STEP_SHARES:
            trial = Linearized.at(model, observed, fitted.misfit, at.parameters + share * whole_step)
            small = left(trial.parameters).counts <= LARGEST_GROWTH * fitted.misfit.counts
            if small and loss(trial, given) < loss(at, given) - SMALLEST_GAIN:
                better = trial
                break
        if better is None:
            break
        at = better
    return Fitted(replace(fitted.solution, parameters=at.parameters[None]), left(at.parameters))


def covariances(
    at: Linearized, given: Freedom
) -> tuple[Float[Tensor, "parameters parameters"], Float[Tensor, "parameters parameters"]]:
    """Covariances (P, P) of what is free: from noise with the prior, and from the misfit."""
    free = given.free.double()
    information = (at.information.sum(0) + torch.diag(given.precision)) * free[:, None] * free
    inverse = covariance((information + torch.diag(1 - free))[None])[0] * free[:, None] * free
    return inverse @ (at.noise + torch.diag(given.precision)) @ inverse, inverse @ at.misfit @ inverse


def _spread(at: Linearized, others: Sequence[Freedom]) -> Tensor:
    """Covariance (P, P) of the steps that the fit would take with each of the ``others``."""
    steps = torch.stack([step(at, other) for other in others]) if others else torch.zeros(1, len(at.parameters))
    return steps.double().T @ steps.double() / len(steps)
