"""Fits of one kind of image from several starts, each with the model for the strength of its wavefront."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.estimation.fit import FitResult, fit, with_light
from stedalign.estimation.models import Models
from stedalign.estimation.observed import Observed
from stedalign.estimation.propose import Proposal
from stedalign.estimation.search import PROMISING_CHI2
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Prior
from stedalign.imaging.parameter_layout import ParameterLayout

Floats = NDArray[np.float64]
FIT_STEPS, LATE_FIT_STEPS = 40, 80
"""Of a fit at most, and of one that is not done by then but near."""
START_FIELDS = "waves", "shift_nm"


def fit_from(models: Models, observed: Observed, starts: Sequence[Proposal]) -> FitResult:
    """The fits to what is ``observed``, each from its start with the model for its strength.

    One that turns out stronger than its model is for is finished by the other.
    """
    strong = [models.is_strong(float(np.linalg.norm(start.waves))) for start in starts]
    order: list[int] = []
    parts = []
    for tier in sorted(set(strong)):
        rows = [row for row, is_strong in enumerate(strong) if is_strong == tier]
        model = models.strong if tier else models.ordinary
        alike = observed.rows(rows)
        begin = _start_parameters(model, alike.binned(model), [starts[row] for row in rows])
        parts.append(_fit_with(models, model, alike, begin))
        order += rows
    solutions = FitResult.joined(parts).rows(np.argsort(order).tolist())
    outgrown = [
        row
        for row, rms in enumerate(solutions.parameters[:, models.layout.modes].norm(dim=1).tolist())
        if models.is_strong(rms) and not strong[row]
    ]
    if outgrown:
        refitted = _fit_with(models, models.strong, observed.rows(outgrown), solutions.parameters[outgrown])
        solutions = solutions.with_rows(outgrown, refitted)
    return solutions


def start_at(model: ForwardModel, observed: Observed, start: Proposal) -> Float[Tensor, "1 parameters"]:
    """Parameters (1, P) of a ``model`` of one image ``observed`` at a ``start``, with the light that suits them."""
    return _start_parameters(model, observed.binned(model), [start])


def twins(layout: ParameterLayout, solution: FitResult) -> list[Proposal]:
    """Wavefronts that look alike in the focal plane, or nearly so.

    With the opposite sign of its rotationally symmetric modes, which act there by their squares; and with that of all
    even ones, as W(-x, -y) of the opposite sign does for a scalar beam without a vortex.
    """
    waves, shift = place(layout, solution)
    symmetric, even = ([mode.m == 0 for mode in layout.mode_set], [mode.m % 2 == 0 for mode in layout.mode_set])
    return [Proposal(np.where(flipped, -waves, waves), shift * [1.0, 1.0, -1.0]) for flipped in (symmetric, even)]


def place(layout: ParameterLayout, solution: FitResult) -> tuple[Float[Floats, " modes"], Float[Floats, " 3"]]:
    """Coefficients (modes,) and shift (3,) of one fit."""
    parameters = solution.parameters[0].numpy()
    return parameters[layout.modes], parameters[layout.shift]


def _fit_with(models: Models, model: ForwardModel, observed: Observed, begin: Tensor) -> FitResult:
    """The fits from parameters ``begin`` (B, P); those that are near their end after many steps get some more."""
    binned = observed.binned(model)
    prior = Prior.of(model, models.nuisances, binned.least_background(model.pooled))
    solutions = fit(model, binned, begin, prior=prior, iterations=FIT_STEPS)
    late = (~solutions.converged & (solutions.reduced_chi2 < PROMISING_CHI2)).nonzero()[:, 0].tolist()
    if late:
        unfinished = binned.rows(late)
        prior = Prior.of(model, models.nuisances, unfinished.least_background(model.pooled))
        more = fit(model, unfinished, solutions.parameters[late], prior=prior, iterations=LATE_FIT_STEPS)
        solutions = solutions.with_rows(late, more)
    return solutions


def _start_parameters(model: ForwardModel, binned: Observed, starts: Sequence[Proposal]) -> Tensor:
    """Parameters (B, P) of fits to ``binned`` images: what each start says, the rest as the setup says."""
    waves, shift = (torch.from_numpy(np.stack([getattr(at, name) for at in starts])) for name in START_FIELDS)
    layout = model.layout
    begin = layout.pack_focus(waves.double(), shift)
    for row, at in zip(begin, starts, strict=True):
        if at.mask_offset is not None and layout.mask_offset:
            row[layout.mask_offset] = torch.from_numpy(at.mask_offset)
    return with_light(model, binned, begin)
