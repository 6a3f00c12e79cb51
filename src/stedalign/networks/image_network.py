"""What every network shares: which planes of an image it sees, and how its training images looked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from stedalign.imaging.images import PLANES, normalize


class ImageNetwork(nn.Module):
    """A module that maps normalized images (B, planes, N, N) to its outputs.

    The mean and standard deviation of each plane that it sees, over the training images, are buffers: they are saved
    with the weights and cannot be forgotten at the microscope.
    """

    mean: Tensor
    std: Tensor
    planes: tuple[str, ...]
    """The names of what the network sees, one plane after the other."""
    binning = 1
    """How many pixels along each axis the network adds up before it looks; images may come binned already."""
    samples = 0
    """Pixels along each axis of images that are not binned."""
    stack = 0
    """Planes of the z-stack that it sees; 0 where it sees sections."""

    def __init__(self, planes: Sequence[str]) -> None:
        super().__init__()
        self.planes = tuple(planes)
        self.register_buffer("mean", torch.zeros(len(self.planes), 1, 1))
        self.register_buffer("std", torch.ones(len(self.planes), 1, 1))

    def seen(self, images: Tensor) -> Tensor:
        """The planes (B, planes, N, N) that the network sees of normalized images."""
        return images

    def binned(self, images: Tensor) -> Tensor:
        """Normalized images with their pixels added up, unless they came so, and normalized anew."""
        if self.binning == 1 or images.shape[-1] != self.samples:
            return images
        return normalize(functional.avg_pool2d(images, self.binning))

    def standardized(self, images: Tensor) -> Tensor:
        """What the first layer is given: the seen planes, each with mean 0 and standard deviation 1 in training."""
        return (self.seen(images) - self.mean) / self.std

    def set_input_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Tell the mean and standard deviation (planes,) of the ``seen`` training images."""
        self.mean.copy_(mean[:, None, None])
        self.std.copy_(std[:, None, None])


class SectionNetwork(ImageNetwork):
    """A module for three sections (B, 3, N, N), whichever of "xy", "xz" and "yz" are its ``planes``."""

    def seen(self, images: Tensor) -> Tensor:
        """The sections (B, planes, N, N) that the network sees of normalized images (B, 3, N, N).

        They are normalized anew, by themselves. The common background and scale of all three would tell a network of
        one section how bright the other two are, which it must neither profit from nor need: an image of that one
        section would then look different. Normalizing undoes any scale and background, so the first time does no harm.
        """
        if self.planes == PLANES:
            return images
        return normalize(images[:, [PLANES.index(plane) for plane in self.planes]])
