"""Ways from noisy images to wavefronts, beside the network alone: the fit, from zero or from what a network says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stedalign.estimation.fit import fit, with_light
from stedalign.evaluation.test_set import KnownImages
from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.nuisances import Prior
from stedalign.networks.outputs import Prediction

Estimator = Callable[[Tensor], Prediction]
"""From noisy images (B, 3, N, N) to what it says about them; ``Network.predict_all`` is one."""


def fit_from(known: KnownImages, first: Estimator | None = None, *, read_noise: float = 0.0) -> Estimator:
    """The fit of all that differs among ``known`` images to counts of three sections.

    It starts from what ``first`` says, otherwise from zero, the donut displaced by its center of mass.
    """
    model, layout = known.model, known.model.layout
    pixel_nm = torch.tensor(model.spec.sampling.pixel_nm)

    def estimate(counts: Tensor) -> Prediction:
        begin = model.focus.rest.repeat(len(counts), 1)
        begin[:, layout.shift] = center_of_mass_px(counts) * pixel_nm
        if first is not None:
            said = first(counts)
            if said.waves is not None:
                begin[:, layout.modes] = said.waves.to(begin)
            if said.mask_offset is not None and layout.mask_offset:
                begin[:, layout.mask_offset] = said.mask_offset.to(begin)
            if said.shift_nm is not None:
                begin[:, layout.shift] = said.shift_nm.to(begin)
        begin = torch.where(known.held[layout.focus], model.focus.rest, begin)
        start = with_light(model, counts, begin)
        result = fit(
            model, counts, start, prior=Prior.of(model, read_noise=read_noise), read_noise=read_noise, held=known.held
        )
        sigma = result.covariance.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
        return say(result.parameters, say(sigma))

    def say(parameters: Tensor, sigma: Prediction | None = None) -> Prediction:
        offset = parameters[:, layout.mask_offset] if layout.mask_offset else None
        return Prediction(parameters[:, layout.modes], offset, parameters[:, layout.shift], sigma)

    return estimate


def joined(parts: Sequence[Prediction]) -> Prediction:
    """What was said about several batches as one; about all of them the same things."""

    def join(values: Sequence[Tensor | None]) -> Tensor | None:
        told = [value for value in values if value is not None]
        return torch.cat(told) if told else None

    sigmas = [part.sigma for part in parts if part.sigma is not None]
    return Prediction(
        join([part.waves for part in parts]),
        join([part.mask_offset for part in parts]),
        join([part.shift_nm for part in parts]),
        joined(sigmas) if sigmas else None,
    )
