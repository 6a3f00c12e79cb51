"""The reconstruction: the focus that an estimate stands for, registered to the image that it is correlated with."""

from __future__ import annotations

import torch
from torch import Tensor

from stedalign.evaluation.test_set import KnownImages
from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.forward import ForwardModel
from stedalign.networks.outputs import Prediction

PROBE_NM = 10.0
"""Displacement for slopes: small against the wavelength, large against rounding in float32."""
REGISTRATION_STEPS = 4


@torch.no_grad()
def reconstruction(known: KnownImages, counts: Tensor, prediction: Prediction, *, register: bool = True) -> Tensor:
    """The focus (B, 3, N, N) as estimated for images of that shape, relative to the unaberrated crest.

    What an estimator does not predict is taken as that of the unaberrated beam, except the displacement: the focus
    comes to lie where it correlates best with the image or, unless it is to ``register``, where the centers of mass
    agree. These are off by a pixel where the image cuts an aberrated focus: a true wavefront would seem to correlate by
    0.94 instead of 0.99.
    """
    model, layout = known.model, known.model.layout
    parameters = model.focus.rest.repeat(len(counts), 1)
    if prediction.waves is not None:
        parameters[:, layout.modes] = prediction.waves.to(parameters)
    if prediction.mask_offset is not None and layout.mask_offset:
        parameters[:, layout.mask_offset] = prediction.mask_offset.to(parameters)
    if prediction.shift_nm is not None:
        parameters[:, layout.shift] = prediction.shift_nm.to(parameters)
    elif not known.still:
        pixel_nm = torch.tensor(model.spec.sampling.pixel_nm)
        displacement = center_of_mass_px(counts) - center_of_mass_px(model.intensity(parameters))
        parameters[:, layout.shift] = displacement * pixel_nm
        if register:
            parameters = _registered(model, counts, parameters)
    return model.intensity(parameters)


def correlations(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation (B,) of all pixels of images (B, ...) of one shape."""
    return (_standardized(first) * _standardized(second)).sum(dim=1)


def _registered(model: ForwardModel, counts: Tensor, parameters: Tensor) -> Tensor:
    """``parameters`` with the shifts of the highest correlation near by: damped Gauss-Newton on standardized images."""

    def standardized(shifts: Tensor) -> Tensor:
        moved = parameters.clone()
        moved[:, model.layout.shift] = shifts
        return _standardized(model.intensity(moved))

    data, best = _standardized(counts), parameters[:, model.layout.shift]
    focus = standardized(best)
    damping = torch.full((len(parameters),), 1e-2)
    for _ in range(REGISTRATION_STEPS):
        probes = PROBE_NM * torch.eye(3)
        slopes = torch.stack([(standardized(best + probe) - focus) / PROBE_NM for probe in probes], dim=1)
        pull = (slopes @ (data - focus)[:, :, None])[..., 0]
        information = slopes @ slopes.mT
        size = information.diagonal(dim1=1, dim2=2).clamp_min(1e-30)
        step, _ = torch.linalg.solve_ex(information + torch.diag_embed(size * damping[:, None]), pull)
        trial = standardized(best + step)
        better = (trial * data).sum(1) > (focus * data).sum(1)
        best, focus = (torch.where(better[:, None], new, old) for new, old in ((best + step, best), (trial, focus)))
        damping = damping * torch.where(better, 0.3, 10.0)
    registered = parameters.clone()
    registered[:, model.layout.shift] = best
    return registered


def _standardized(images: Tensor) -> Tensor:
    """Images as vectors (B, pixels) of mean 0 and length 1: their products are correlations."""
    centered = images.flatten(1) - images.flatten(1).mean(dim=1, keepdim=True)
    return centered / centered.norm(dim=1, keepdim=True).clamp_min(torch.finfo(centered.dtype).tiny)
