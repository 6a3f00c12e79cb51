"""What an image may need beside the wavefront and the usual nuisances, and how well each predicts a section left out.

More freedom always explains the sections better that a fit sees, and often worse those that it does not. So one whole
section is left out in turn and predicted from the others, up to its own light and place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from stedalign.estimation.linearized import Linearized
from stedalign.imaging.nuisances import Prior
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.parameters import EZ_WEIGHT, FILL_CENTERS, LAYER, PINHOLE, PIXEL_ERRORS, TAPER
from stedalign.optics.wavefront import ModeSet
from stedalign.optics.zernike import Mode

HIGHER_MODES = "higher modes"
HALVES = "polarization halves"
"""What is free only where a setup asks for it, and then told, for it can stand in for what no model knows."""
HIGHER_ORDERS = 5, 6, 7, 8
HIGHER_WAVES = 0.006
"""Standard deviation of each higher mode where an image needs them."""
UNEVEN_SHARE = 0.03
"""Standard deviation of each term of an uneven background, over the crest."""
CHANCE_FOR_EACH = 2.0
"""What each parameter that a section has for itself gains by chance, in twice the log-likelihood (Akaike 1974)."""
BOUND_ROUNDS = 4


@dataclass(frozen=True)
class Effect:
    """Something real instruments do that the usual fit holds as the setup says, or nearly so."""

    name: str
    sigmas: dict[str, float] = field(default_factory=dict)
    """Standard deviation of each of its parameters where it is taken, of ``optics.parameters``."""
    higher_modes: bool = False
    uneven: bool = False
    """Whether it is a background that is not even."""


EFFECTS = (
    Effect("uneven background", uneven=True),
    Effect(HIGHER_MODES, higher_modes=True),
    Effect("lateral scale", dict.fromkeys(PIXEL_ERRORS[:2], 0.05)),
    Effect("fill", {TAPER: 1.0, **dict.fromkeys(FILL_CENTERS, 0.15)}),
    Effect("pinhole", {PINHOLE: 1.0}),
    Effect("index layer", {LAYER: 150.0}),
    Effect("weight of Ez", {EZ_WEIGHT: 0.3}),
)


def higher_modes(modes: ModeSet) -> ModeSet:
    """All modes of ``HIGHER_ORDERS`` that are not among ``modes``."""
    every = (Mode(n, m) for n in HIGHER_ORDERS for m in range(-n, n + 1, 2))
    return ModeSet(tuple(mode for mode in every if mode not in modes))


@dataclass(frozen=True, eq=False)
class Freedom:
    """Which parameters (P,) are free, what is known of these before, and their bounds."""

    free: Bool[Tensor, " parameters"]
    mean: Float[Tensor, " parameters"]
    precision: Float[Tensor, " parameters"]
    lowest: Float[Tensor, " parameters"]
    highest: Float[Tensor, " parameters"]


@dataclass(frozen=True, eq=False)
class Usual:
    """What the usual fit of an image leaves free, of a model that has all effects."""

    layout: ParameterLayout
    prior: Prior
    """Of the usual parameters, for the one image."""
    names: tuple[str, ...]
    """The free parameters of the usual fit."""
    modes: int
    """How many modes it has; those after them are higher ones."""

    def with_effects(self, effects: Sequence[Effect], crest: float) -> Freedom:
        """What is free with some ``effects``, in an image of so many photons at its ``crest``."""
        layout, prior = self.layout, self.prior
        free = torch.ones(len(layout), dtype=torch.bool)
        precision = prior.precision.clone()
        free[layout.free] = torch.tensor([name in self.names for name in layout.free_names], dtype=torch.bool)
        free[self.modes : layout.modes.stop] = False
        free[layout.surface] = False
        for effect in effects:
            for name, sigma in effect.sigmas.items():
                for column in layout.columns([name]):
                    free[column], precision[column] = True, sigma**-2
            if effect.higher_modes:
                free[self.modes : layout.modes.stop] = True
                precision[self.modes : layout.modes.stop] = HIGHER_WAVES**-2
            if effect.uneven:
                free[layout.surface] = True
                precision[layout.surface] = (UNEVEN_SHARE * crest) ** -2
        return Freedom(free, prior.mean, precision, prior.lowest.reshape(-1, len(layout))[0], prior.highest)


def loss(at: Linearized, given: Freedom) -> float:
    """Twice the log-likelihood lost, with what the prior of what is free takes."""
    away = given.precision * (at.parameters - given.mean) ** 2 * given.free
    return at.loss + float(away.sum())


def step(at: Linearized, given: Freedom, without: int | None = None) -> Float[Tensor, " parameters"]:
    """The Gauss-Newton step (P,) of what is free within its bounds, from all parts of the image but one."""
    seen = [part for part in range(len(at.information)) if part != without]
    information = at.information[seen].sum(0) + torch.diag(given.precision)
    gradient = at.gradient[seen].sum(0) - given.precision * (at.parameters - given.mean)
    free, moved = given.free.clone(), torch.zeros_like(at.parameters)
    for _ in range(BOUND_ROUNDS):
        wanted = moved + solved(information, gradient - information @ moved, free)
        bounded = (at.parameters + wanted).clamp(given.lowest, given.highest) - at.parameters
        beyond = free & (bounded != wanted)
        moved = torch.where(beyond, bounded, moved)
        free &= ~beyond
        if not beyond.any():
            return wanted
    return moved + solved(information, gradient - information @ moved, free)


def loss_left_out(at: Linearized, given: Freedom, layout: ParameterLayout) -> Float[Tensor, " parts"]:
    """Twice the log-likelihood lost (parts,), against that of the fit, by predicting each part from the others.

    Its own light and place are no prediction: they are fitted, and what that gains by chance is taken off.
    """
    losses = []
    for part in range(len(at.information)):
        own_light = torch.zeros_like(given.free)
        own_light[layout.of_part(part)] = True
        own_light &= given.free
        predicted = step(at, given, without=part)
        information = at.information[part] + torch.diag(given.precision * own_light)
        pull = at.gradient[part] - at.information[part] @ predicted
        pull = pull - given.precision * own_light * (at.parameters + predicted - given.mean)
        moved = predicted + solved(information, pull, own_light)
        lost = moved @ at.information[part] @ moved - 2 * at.gradient[part] @ moved
        losses.append(lost + CHANCE_FOR_EACH * int(own_light.sum()))
    return torch.stack(losses)


def solved(
    information: Float[Tensor, "parameters parameters"],
    gradient: Float[Tensor, " parameters"],
    free: Bool[Tensor, " parameters"],
) -> Float[Tensor, " parameters"]:
    """The solution (P,) of the normal equations in what is ``free`` (P,), zero elsewhere."""
    solution = torch.zeros_like(gradient)
    rows = information[free][:, free]
    size = rows.diagonal().clamp_min(1e-30).sqrt()
    balanced = rows / (size[:, None] * size)
    right = (gradient[free] / size)[:, None]
    solution[free] = torch.linalg.lstsq(balanced, right, driver="gelsd").solution[:, 0] / size
    return solution
