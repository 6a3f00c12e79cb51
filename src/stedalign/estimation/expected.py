"""The photons that parameters let expect of an image that is seen, with what its planes have for themselves."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stedalign.estimation.bound import LEAST_EXPECTED_COUNT
from stedalign.estimation.observed import Observed
from stedalign.imaging.planes import FoundPlanes, Planes


class Expected(NamedTuple):
    """What is expected of B images."""

    light: Float[Tensor, "images pixels"]
    """Photons and what was ``extra``, (B, pixels)."""
    taken: Float[Tensor, " images"]
    """What the planes' prior takes of twice the log-likelihood, (B,)."""
    found: FoundPlanes | None
    """The planes of a volume, where they may have a light or a place of their own."""


def expect(
    planes: Planes | None,
    values: Float[Tensor, "images pixels"],
    parameters: Float[Tensor, "images parameters"],
    data: Float[Tensor, "images pixels"],
    extra: Float[Tensor, "images pixels"],
    weight: Float[Tensor, "images pixels"],
) -> Expected:
    """What is expected where ``data`` are seen and steady planes have these photons (``values``), all (B, pixels)."""
    if planes is None:
        light = (values.double() + extra).clamp_min(LEAST_EXPECTED_COUNT)
        return Expected(light, torch.zeros_like(light[:, 0]), None)
    found = planes.found(values, parameters, data, extra, weight, LEAST_EXPECTED_COUNT)
    return Expected(found.light, found.taken, found)


def of_observed(
    planes: Planes | None,
    values: Float[Tensor, "images parts *pixels"],
    parameters: Float[Tensor, "images parameters"],
    observed: Observed,
) -> Expected:
    """The same of images that are ``observed`` on the model's pixels."""
    extra, weight, counts = (part.flatten(1).double() for part in (observed.extra, observed.weight, observed.counts))
    return expect(planes, values.flatten(1), parameters.double(), (counts + extra).clamp_min(0), extra, weight)
