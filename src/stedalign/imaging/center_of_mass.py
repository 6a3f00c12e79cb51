"""Center of mass of an image, plain and steady under noise."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from stedalign.imaging.images import BACKGROUND_QUANTILE

CREST_QUANTILE = 0.995
CREST_THRESHOLD = 0.2


def center_of_mass_px(sections: Float[Tensor, "images 3 n n"]) -> Float[Tensor, "images 3"]:
    """Displacement (B, 3) along x, y, z in pixels of images (B, 3, N, N) from the middle (N-1)/2.

    What lies below the background (the lowest decile, as in ``normalize``) plus ``CREST_THRESHOLD`` of each
    section's crest (a high quantile: one hot pixel is no crest) weighs nothing, so that the many faint pixels
    far out do not pull a noisy image back to the middle. Each axis is seen by two sections, which count
    alike; a section without signal has no say, and an empty image has no displacement.
    """
    samples = sections.shape[-1]
    weight = _weight(sections)
    axis = torch.arange(samples, dtype=sections.dtype, device=sections.device) - (samples - 1) / 2
    mass = weight.sum((-2, -1))
    seen = (mass > 0).to(sections.dtype)
    mass = mass.clamp_min(torch.finfo(sections.dtype).tiny)
    column = (weight.sum(-2) * axis).sum(-1) / mass * seen
    row = (weight.sum(-1) * axis).sum(-1) / mass * seen
    # Columns and rows of xy, xz, yz are (x, y), (x, z), (y, z).
    first = torch.stack([column[:, 0], row[:, 0], row[:, 1]], dim=-1)
    second = torch.stack([column[:, 1], column[:, 2], row[:, 2]], dim=-1)
    votes = torch.stack(
        [seen[:, 0] + seen[:, 1], seen[:, 0] + seen[:, 2], seen[:, 1] + seen[:, 2]],
        dim=-1,
    )
    return (first + second) / votes.clamp_min(1)


def center_of_exposure_px(exposure: Float[Tensor, "*z y x"]) -> list[float]:
    """Displacement along each axis, in pixels, of one exposure (..., Y, X) from its middle; weighed the same way."""
    weight = _weight(exposure[None, None])[0, 0]
    total = float(weight.sum())
    if total == 0:
        return [0.0] * exposure.ndim
    indices = [torch.arange(count, dtype=exposure.dtype) - (count - 1) / 2 for count in exposure.shape]
    others = [tuple(set(range(exposure.ndim)) - {axis}) for axis in range(exposure.ndim)]
    return [float(weight.sum(other) @ index) / total for other, index in zip(others, indices, strict=True)]


def _weight(images: Tensor) -> Tensor:
    """What each pixel of images (B, parts, ...) weighs."""
    background = _quantile(images.flatten(1), BACKGROUND_QUANTILE)[:, None]
    signal = (images.flatten(2) - background).clamp_min(0)
    return (signal - CREST_THRESHOLD * _quantile(signal, CREST_QUANTILE)).clamp_min(0).reshape(images.shape)


def _quantile(values: Tensor, fraction: float) -> Tensor:
    """The quantile along the last axis, which stays with length 1 (``torch.quantile`` limits the size)."""
    rank = min(max(1, round(fraction * values.shape[-1])), values.shape[-1])
    return values.kthvalue(rank, dim=-1, keepdim=True).values
