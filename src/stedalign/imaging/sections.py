"""Ortho-sections: the three planes through the nominal focus, their sampling and their normalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from stedalign.imaging.pictures import SMALLEST, Picture, View
from stedalign.optics.spec import Spec
from stedalign.optics.targets import Grid, centered

PLANES = ("xy", "xz", "yz")
BACKGROUND_QUANTILE = 0.1
Floats = NDArray[np.float64]


class Sampling(Spec):
    """How the three sections are sampled; sample i of N lies at (i - (N-1)/2) pixels."""

    samples: int = Field(64, ge=8, le=512)
    """Samples along each axis."""
    pixel_nm: tuple[float, float, float] = (31.25, 31.25, 31.25)
    """Pixel size along x, y, z."""
    integrate: bool = False
    """Whether each pixel holds the mean over its area, as where a detector or a scan integrates."""

    def model_post_init(self, context: Any, /) -> None:
        if not all(0 < pixel <= 1000 for pixel in self.pixel_nm):
            raise ValueError(f"pixel_nm {self.pixel_nm} must lie between 0 and 1000 nm")

    @property
    def axis_px(self) -> Floats:
        """Positions of the samples in pixels, shape (samples,)."""
        return centered(self.samples, 1.0)

    @property
    def view(self) -> View:
        """What a picture of the three sections shows."""
        return View(parts=PLANES, shape=(self.samples, self.samples), pixel_nm=self.pixel_nm, integrate=self.integrate)

    def targets(self) -> list[Grid]:
        """The xy, xz and yz section for ``Focus``."""
        return self.view.targets()

    def points_nm(self) -> list[Floats]:
        """The points (samples^2, 3) of the xy, xz and yz section in nm, row by row."""
        return [target.points_nm for target in self.targets()]


@dataclass(frozen=True, eq=False)
class OrthoSections(Picture):
    """Three sections of one picture: ``data`` (3, N, N) in counts, as xy [y, x], xz [z, x] and yz [z, y]."""

    @property
    def sampling(self) -> Sampling:
        return Sampling(samples=self.data.shape[1], pixel_nm=self.pixel_nm)

    @property
    def view(self) -> View:
        return self.sampling.view

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
            raise ValueError(f"three square sections (3, N, N) are expected, got the shape {shape}")
        if shape[1] < SMALLEST:
            raise ValueError(f"sections of {shape[1]} pixels are too small: {SMALLEST} at least")


def cut_sections(volume: NDArray[Any], center: tuple[int, int, int], samples: int) -> Floats:
    """The three planes of a volume (Z, Y, X) through the voxel ``center`` (z, y, x): (3, samples, samples).

    The voxel comes to lie at index samples // 2 of each section. Raises ``ValueError`` where the volume ends
    before the sections do.
    """
    starts = [position - samples // 2 for position in center]
    if any(start < 0 or start + samples > size for start, size in zip(starts, volume.shape, strict=True)):
        raise ValueError(
            f"sections of {samples} samples around the voxel {center} do not fit a volume of shape {volume.shape}"
        )
    z, y, x = (slice(start, start + samples) for start in starts)
    return np.stack([volume[center[0], y, x], volume[z, center[1], x], volume[z, y, center[2]]]).astype(np.float64)


def normalize(sections: Tensor) -> Tensor:
    """Sections (..., 3, N, N) with their background subtracted and one common scale, for networks.

    The background is the lowest decile over the three sections together and the scale the root mean square
    of what remains: neither hangs on a single noisy pixel, and the ratio between the sections survives.
    """
    pixels = sections.flatten(-3)
    rank = max(1, round(BACKGROUND_QUANTILE * pixels.shape[-1]))
    background = pixels.kthvalue(rank, dim=-1, keepdim=True).values
    signal = pixels - background
    scale = signal.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(torch.finfo(signal.dtype).tiny)
    return (signal / scale).reshape(sections.shape)
