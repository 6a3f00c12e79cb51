"""What a fit sees of an image: photons, the noise that is not theirs, and how far each pixel is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from stedalign.imaging.forward import ForwardModel

BELOW_ZERO = 0.5
"""How far the background may lie below zero, as a share of the variance that is not the photons'."""


@dataclass(frozen=True, eq=False)
class Observed:
    """A batch of B images. A pixel's variance is its expected photons and ``extra`` together.

    That is a Poisson distribution shifted by ``extra``, for photon counts (0), for electronics alone (far more than
    there are photons) and for all between (Snyder et al. 1995).
    """

    counts: Float[Tensor, "images parts *pixels"]
    """Photons, (B, parts, ...)."""
    extra: Float[Tensor, "images parts *pixels"]
    """Variance beside that of the photons, in photons squared, (B, parts, ...)."""
    weight: Float[Tensor, "images parts *pixels"]
    """1 for a pixel that is believed and 0 for one that is not, (B, parts, ...)."""

    @classmethod
    def of(cls, counts: Float[Tensor, "images parts *pixels"], read_noise: float = 0.0) -> Observed:
        """Photon ``counts`` whose electronics add a noise of standard deviation ``read_noise``."""
        counts = counts.double()
        return cls(counts, torch.full_like(counts, read_noise**2), torch.ones_like(counts))

    @classmethod
    def joined(cls, images: Sequence[Observed]) -> Observed:
        """Several batches of images of one shape as one."""
        parts = ([getattr(each, part.name) for each in images] for part in fields(cls))
        return cls(*(torch.cat(part) for part in parts))

    def binned(self, model: ForwardModel) -> Observed:
        """On the pixels of a ``model``; one of them that holds a pixel not believed is not believed either."""
        whole = model.binned(self.weight) > model.pooled - 0.5
        return Observed(model.binned(self.counts), model.binned(self.extra), whole.to(self.weight))

    def rows(self, rows: Sequence[int]) -> Observed:
        """Some of the images, in this order."""
        return Observed(self.counts[rows], self.extra[rows], self.weight[rows])

    def repeated(self, count: int) -> Observed:
        """A single image ``count`` times."""
        return Observed(*(part.expand(count, *part.shape[1:]) for part in (self.counts, self.extra, self.weight)))

    def with_more_noise(self, variance: Float[Tensor, "images parts"]) -> Observed:
        """With a further variance (B, parts) of every pixel of a part, in photons squared."""
        return replace(self, extra=self.extra + variance.reshape(*variance.shape, *[1] * (self.extra.ndim - 2)))

    def only(self, weight: Float[Tensor, "images parts"]) -> Observed:
        """With the parts believed as far as their ``weight`` (B, parts)."""
        return replace(self, weight=self.weight * weight.reshape(*weight.shape, *[1] * (self.weight.ndim - 2)))

    def least_background(self, pooled: int = 1) -> Float[Tensor, "images parts"]:
        """The lowest background (B, parts) of a pixel, where each of these holds ``pooled`` of them."""
        return -BELOW_ZERO / pooled * self.extra.flatten(2).mean(-1)
