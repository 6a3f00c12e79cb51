"""Where to start a fit that did not explain the picture: a search of many starts, over several generations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.estimation.fit import FitResult, fit, start_parameters
from stedalign.estimation.propose import Proposal
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Prior

Floats = NDArray[np.float64]
GENERATIONS = 16
"""At most; nine of ten searches that succeed need no more than four."""
STARTS, STEPS = 16, 20
"""Fits in each generation, and steps of each."""
PARENTS, NEWCOMERS = 6, 4
"""Ends that the next generation starts around, and its starts around the proposal instead."""
NICHE_WAVES = 0.1
"""Ends nearer to a likelier one than this have no offspring: the search would stay where it is."""
NEAREST_WAVES, FARTHEST_WAVES = 0.02, 0.15
"""How far from its parent a start lies along each mode."""
FIRST_SHARE, LATER_SHARE, UNSURE_WAVES = 0.5, 1.5, 0.08
"""How far from the proposal, in its own standard deviations: first and later; and what these are where it tells none.
"""
PROMISING_CHI2 = 5.0
"""Reduced chi-squared of an end that is worth finishing; others lie above ten."""


def likely_starts(
    model: ForwardModel, counts: Tensor, proposal: Proposal, zero: Proposal, read_noise: float = 0.0
) -> Iterator[Proposal]:
    """Ends of rough fits to ``counts`` (1, parts, ...) that nearly explain them, the likeliest of each generation.

    An evolution strategy: fits from starts around the ``proposal`` and from ``zero``, then around the likeliest ends
    that are no neighbors. ``model`` is one of wavefront and shift alone, on as few pixels as tell them.
    """
    generator = np.random.default_rng(0)
    modes = len(model.modes)
    sigma = np.full(modes, UNSURE_WAVES) if proposal.sigma_waves is None else proposal.sigma_waves

    def around(center: Floats, deviation: Floats, count: int) -> list[Proposal]:
        return [replace(proposal, waves=center + generator.normal(size=modes) * deviation) for _ in range(count)]

    starts = [zero, proposal, *around(proposal.waves, FIRST_SHARE * sigma, STARTS)]
    ends: list[tuple[float, Proposal]] = []
    for _ in range(GENERATIONS):
        found = _fits(model, counts, starts, read_noise)
        best, place = found.reduced_chi2.nan_to_num(torch.inf).min(0)
        ends = _apart([*ends, *_ends(model, found)])[:PARENTS]
        if float(best) < PROMISING_CHI2:
            yield _ends(model, found.item(int(place)))[0][1]
        starts = around(proposal.waves, LATER_SHARE * sigma, NEWCOMERS)
        for index in range(STARTS - NEWCOMERS):
            _, parent = ends[index % len(ends)]
            far = np.exp(generator.uniform(np.log(NEAREST_WAVES), np.log(FARTHEST_WAVES)))
            starts.append(replace(parent, waves=parent.waves + generator.normal(size=modes) * far))


def _fits(model: ForwardModel, counts: Tensor, starts: Sequence[Proposal], read_noise: float) -> FitResult:
    several = counts.expand(len(starts), *counts.shape[1:])
    waves, shifts = (
        torch.from_numpy(np.stack([getattr(start, name) for start in starts])) for name in ("waves", "shift_nm")
    )
    begin = start_parameters(model, several, waves, shifts)
    prior = Prior.of(model, None, read_noise)
    return fit(model, several, begin, prior=prior, read_noise=read_noise, iterations=STEPS)


def _ends(model: ForwardModel, found: FitResult) -> list[tuple[float, Proposal]]:
    """Each end with its loss."""
    return [
        (loss, Proposal(parameters[: len(model.modes)], parameters[model.shift]))
        for loss, parameters in zip(found.loss.nan_to_num(torch.inf).tolist(), found.parameters.numpy(), strict=True)
    ]


def _apart(ends: Sequence[tuple[float, Proposal]]) -> list[tuple[float, Proposal]]:
    """Those that are no neighbors of likelier ones, the likeliest first."""
    kept: list[tuple[float, Proposal]] = []
    for loss, end in sorted(ends, key=lambda each: each[0]):
        if all(np.linalg.norm(end.waves - other.waves) > NICHE_WAVES for _, other in kept):
            kept.append((loss, end))
    return kept
