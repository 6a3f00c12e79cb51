"""Ways from noisy images to wavefronts: the network alone, and the fit, from zero or from what the network predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stedalign.estimation.fit import fit, with_light
from stedalign.estimation.observed import Observed
from stedalign.evaluation.test_set import IMAGES_AT_ONCE, KnownImages
from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.nuisances import Prior
from stedalign.networks.outputs import Prediction
from stedalign.progress import SILENT, Progress

NETWORK, FIT, HYBRID = "network", "fit", "hybrid"
"""The network alone; the fit that starts from zero; the fit that starts from the network's prediction."""
TITLES = {NETWORK: "network", FIT: "fit from zero", HYBRID: "network + fit"}
ESTIMATORS = tuple(TITLES)

Estimator = Callable[[Tensor], Prediction]
"""From noisy images (B, 3, N, N) to what it predicts of them; ``Network.predict_all`` is one."""


def fit_estimator(known: KnownImages, start_from: Estimator | None = None, *, read_noise: float = 0.0) -> Estimator:
    """The fit of all that differs among ``known`` images to counts of three sections.

    It starts from the predictions of ``start_from``, otherwise from zero, the donut displaced by its center of mass.
    """
    model, layout = known.model, known.model.layout
    pixel_nm = torch.tensor(model.spec.sampling.pixel_nm)

    def estimate(counts: Tensor) -> Prediction:
        begin = model.focus.rest.repeat(len(counts), 1)
        begin[:, layout.shift] = center_of_mass_px(counts) * pixel_nm
        if start_from is not None:
            prediction = start_from(counts)
            if prediction.waves is not None:
                begin[:, layout.modes] = prediction.waves.to(begin)
            if prediction.mask_offset is not None and layout.mask_offset:
                begin[:, layout.mask_offset] = prediction.mask_offset.to(begin)
            if prediction.shift_nm is not None:
                begin[:, layout.shift] = prediction.shift_nm.to(begin)
        begin = torch.where(known.held[layout.focus], model.focus.rest, begin)
        observed = Observed.of(counts, read_noise)
        prior = Prior.of(model, None, observed.least_background())
        result = fit(model, observed, with_light(model, observed, begin), prior=prior, held=known.held)
        sigma = result.covariance.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
        return as_prediction(result.parameters, as_prediction(sigma))

    def as_prediction(parameters: Tensor, sigma: Prediction | None = None) -> Prediction:
        offset = parameters[:, layout.mask_offset] if layout.mask_offset else None
        return Prediction(parameters[:, layout.modes], offset, parameters[:, layout.shift], sigma)

    return estimate


def predict_in_batches(
    estimator: Estimator, counts: Tensor, progress: Progress = SILENT, title: str = ""
) -> list[Prediction]:
    """What an estimator predicts of images (n, 3, N, N), ``IMAGES_AT_ONCE`` at a time."""
    firsts = range(0, len(counts), IMAGES_AT_ONCE)
    return [estimator(counts[first : first + IMAGES_AT_ONCE]) for first in progress.over(firsts, title)]


def joined(parts: Sequence[Prediction]) -> Prediction:
    """The predictions of several batches, all of the same quantities, as one."""

    def join(values: Sequence[Tensor | None]) -> Tensor | None:
        predicted = [value for value in values if value is not None]
        return torch.cat(predicted) if predicted else None

    sigmas = [part.sigma for part in parts if part.sigma is not None]
    return Prediction(
        join([part.waves for part in parts]),
        join([part.mask_offset for part in parts]),
        join([part.shift_nm for part in parts]),
        joined(sigmas) if sigmas else None,
    )
