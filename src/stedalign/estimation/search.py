"""Where to start a fit that did not explain the image: a search of many starts, over several generations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from stedalign.estimation.fit import FitResult, deviance, fit, start_parameters
from stedalign.estimation.observed import Observed
from stedalign.estimation.propose import Proposal
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Prior

Floats = NDArray[np.float64]
LIFE_GENERATIONS = 8
"""Generations after which all begins anew: what succeeds seldom takes longer, and what is lost stays so."""
GENERATION_STARTS, ROUGH_FIT_STEPS = 16, 20
"""Fits in each generation, two more in the first one, and steps of each."""
PARENTS, NEWCOMERS = 6, 4
"""Ends that the next generation starts around, and its starts around the proposal instead."""
NICHE_WAVES = 0.1
"""Ends nearer to a likelier one than this have no offspring: the search would stay where it is."""
NEAREST_WAVES, FARTHEST_WAVES = 0.02, 0.15
"""How far from its parent a start lies along each mode."""
NEWCOMER_SIGMAS, UNSURE_WAVES = 1.5, 0.04
"""How far newcomers lie from the proposal, in its own standard deviations, and what these are where it tells none."""
LARGEST_WAVES, LARGEST_RMS_WAVES = 0.4, 0.7
"""Of any mode, and of an end with offspring: far from every instrument there are many minima, and some are deep."""
FIRST_GUESS_WAVES, LATER_GUESS_WAVES = 0.06, 0.1
"""Standard deviation of each mode of guesses around zero: of the first generation, and of the lives that begin there,
every other one, where the proposal led nowhere."""
SAME_WAVES, AGREEING_STARTS = 0.03, 12
"""How near ends are one, and how many starts that know nothing of each other must find the likeliest one to end the
search: where nothing explains the image they all do, where the aberration is strong hardly two agree."""
MEDIAN_UNEXPLAINED, LEAST_UNEXPLAINED = 0.35, 0.2
"""Shares of what an image shows that the fits of independent starts, in the median, and the likeliest one leave
unexplained. With less of both after a life the image looks somewhat like this focus from everywhere, and is not: a
strong aberration leaves most starts further away. (Measured, the first in the first generation: another pattern 0.25 to
0.33 and 0.12 to 0.20; the strong wavefronts that were found later 0.34 to 0.89 and 0.21 to 0.4, but for one of 0.6 and
0.1.)"""
PROMISING_CHI2, PROMISING_SHARE = 5.0, 0.2
"""Reduced chi-squared of an end that is worth finishing; or its loss over the median one, where there is so much light
that the rough model explains no image to its noise."""


def likely_starts(
    model: ForwardModel,
    observed: Observed,
    proposal: Proposal,
    zero: Proposal,
    *,
    generations: int,
) -> Iterator[Proposal]:
    """Ends of rough fits to the one image ``observed`` that are worth finishing, while more are asked for.

    An evolution strategy: fits from starts around the ``proposal`` and from ``zero``, then around the likeliest ends
    that are no neighbors; no longer than independent starts disagree or leave much unexplained. ``model`` is one of
    wavefront and shift alone, on as few pixels as tell them.
    """
    generator = np.random.default_rng(0)
    modes = len(model.modes)
    sigma = np.full(modes, UNSURE_WAVES) if proposal.sigma_waves is None else proposal.sigma_waves

    def around(center: Floats, deviation: Floats, count: int) -> list[Proposal]:
        return [replace(proposal, waves=center + generator.normal(size=modes) * deviation) for _ in range(count)]

    def near_proposal(count: int) -> list[Proposal]:
        return around(proposal.waves, NEWCOMER_SIGMAS * sigma, count)

    def near_zero(count: int, deviation: float) -> list[Proposal]:
        return around(np.zeros(modes), np.full(modes, deviation), count)

    noise = float(observed.weight.sum())
    shown = max(1.0, _deviance_from_even(observed) - noise)
    half = GENERATION_STARTS // 2
    newcomers = [zero, proposal, *near_proposal(half), *near_zero(half, FIRST_GUESS_WAVES)]
    offspring: list[Proposal] = []
    ends: list[End] = []
    independent: list[End] = []
    yielded: list[End] = []
    for generation in range(1, generations + 1):
        new_ends = _ends(model, _fits(model, observed, [*newcomers, *offspring]))
        ends = _apart([*ends, *new_ends])[:PARENTS]
        independent += new_ends[: len(newcomers)]
        agreed = sum(end.near(ends[0], SAME_WAVES) for end in independent) >= AGREEING_STARTS
        dying = generation % LIFE_GENERATIONS == 0 or generation == generations
        best = min(new_ends, key=lambda end: end.loss)
        usual = float(np.median([end.loss for end in independent]))
        promising = best.reduced_chi2 < PROMISING_CHI2 or best.loss < PROMISING_SHARE * usual
        # What the rough model does not explain, the whole one may.
        for end in [best] * promising + [ends[0]] * (agreed or dying):
            if not any(end.near(other, SAME_WAVES) for other in yielded):
                yielded.append(end)
                yield end.place
        alike = (usual - noise) / shown < MEDIAN_UNEXPLAINED and (ends[0].loss - noise) / shown < LEAST_UNEXPLAINED
        if agreed or (generation == LIFE_GENERATIONS and alike):
            return
        if dying:
            ends = []
        count = NEWCOMERS if ends else GENERATION_STARTS
        newcomers = near_zero(count, LATER_GUESS_WAVES) if generation // LIFE_GENERATIONS % 2 else near_proposal(count)
        offspring = _offspring(ends, GENERATION_STARTS - len(newcomers), generator)


def _offspring(parents: Sequence[End], count: int, generator: np.random.Generator) -> list[Proposal]:
    """Starts around the parents in turn, each as far along every mode as is drawn for it."""
    starts = []
    for index in range(count):
        parent = parents[index % len(parents)].place
        far = np.exp(generator.uniform(np.log(NEAREST_WAVES), np.log(FARTHEST_WAVES)))
        starts.append(replace(parent, waves=parent.waves + generator.normal(size=len(parent.waves)) * far))
    return starts


def _deviance_from_even(observed: Observed) -> float:
    """What even parts would leave of one image."""
    weight = observed.weight.flatten(2)
    pixels = (observed.counts + observed.extra).flatten(2).double().clamp_min(0)
    even = ((weight * pixels).sum(-1) / weight.sum(-1).clamp_min(1))[..., None].expand_as(pixels)
    return float(deviance(pixels.flatten(1), even.flatten(1), weight.flatten(1)))


@dataclass(frozen=True, eq=False)
class End:
    """Where one of the rough fits ended."""

    place: Proposal
    loss: float
    reduced_chi2: float

    @property
    def rms_waves(self) -> float:
        return float(np.linalg.norm(self.place.waves))

    def near(self, other: End, waves: float) -> bool:
        return float(np.linalg.norm(self.place.waves - other.place.waves)) < waves


def _fits(model: ForwardModel, observed: Observed, starts: Sequence[Proposal]) -> FitResult:
    several = observed.repeated(len(starts))
    waves, shifts = (
        torch.from_numpy(np.stack([getattr(start, name) for start in starts])) for name in ("waves", "shift_nm")
    )
    begin = start_parameters(model, several, waves, shifts)
    prior, modes = Prior.of(model, None, several.least_background(model.pooled)), model.layout.modes
    prior.lowest[:, modes], prior.highest[modes] = -LARGEST_WAVES, LARGEST_WAVES
    return fit(model, several, begin, prior=prior, iterations=ROUGH_FIT_STEPS)


def _ends(model: ForwardModel, found: FitResult) -> list[End]:
    losses, chi2s = (part.nan_to_num(torch.inf).tolist() for part in (found.loss, found.reduced_chi2))
    layout = model.layout
    places = [Proposal(row[layout.modes], row[layout.shift]) for row in found.parameters.numpy()]
    return [End(*each) for each in zip(places, losses, chi2s, strict=True)]


def _apart(ends: Sequence[End]) -> list[End]:
    """Those that are no neighbors of likelier ones, the likeliest first; at least one."""
    kept: list[End] = []
    # Those too strong come last, for the case that there are no others.
    for end in sorted(ends, key=lambda each: (each.rms_waves > LARGEST_RMS_WAVES, each.loss)):
        strange = end.rms_waves > LARGEST_RMS_WAVES and bool(kept)
        if not strange and not any(end.near(other, NICHE_WAVES) for other in kept):
            kept.append(end)
    return kept
