"""What every network shares: which planes of a picture it sees, and how its training pictures looked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from stedalign.imaging.sections import PLANES, normalize


class PictureNetwork(nn.Module):
    """A module that maps normalized pictures (B, planes, N, N) to its outputs.

    The mean and standard deviation of each plane that it sees, over the training pictures, are buffers: they are saved
    with the weights and cannot be forgotten at the microscope.
    """

    mean: Tensor
    std: Tensor
    binning = 1
    """How many pixels along each axis the network adds up before it looks; pictures may come binned already."""
    samples = 0
    """Pixels along each axis of pictures that are not binned."""
    stack = 0
    """Planes of the z-stack that it sees; 0 where it sees sections."""

    def __init__(self, planes: Sequence[str]) -> None:
        """``planes`` names what the network sees, one after the other."""
        super().__init__()
        self.planes = tuple(planes)
        self.register_buffer("mean", torch.zeros(len(self.planes), 1, 1))
        self.register_buffer("std", torch.ones(len(self.planes), 1, 1))

    def seen(self, pictures: Tensor) -> Tensor:
        """The planes (B, planes, N, N) that the network sees of normalized pictures."""
        return pictures

    def binned(self, pictures: Tensor) -> Tensor:
        """Normalized pictures with their pixels added up, unless they came so, and normalized anew."""
        if self.binning == 1 or pictures.shape[-1] != self.samples:
            return pictures
        return normalize(functional.avg_pool2d(pictures, self.binning))

    def standardized(self, pictures: Tensor) -> Tensor:
        """What the first layer is given: the seen planes, each with mean 0 and standard deviation 1 in training."""
        return (self.seen(pictures) - self.mean) / self.std

    def set_input_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Tell the mean and standard deviation (planes,) of the ``seen`` training pictures."""
        self.mean.copy_(mean[:, None, None])
        self.std.copy_(std[:, None, None])


class SectionNetwork(PictureNetwork):
    """A module for three sections (B, 3, N, N), whichever of "xy", "xz" and "yz" are its ``planes``."""

    def seen(self, pictures: Tensor) -> Tensor:
        """The sections (B, planes, N, N) that the network sees of normalized pictures (B, 3, N, N).

        They are normalized anew, by themselves. The common background and scale of all three would tell a network of
        one section how bright the other two are, which it must neither profit from nor need: a picture of that one
        section would then look different. Normalizing undoes any scale and background, so the first time does no harm.
        """
        if self.planes == PLANES:
            return pictures
        return normalize(pictures[:, [PLANES.index(plane) for plane in self.planes]])
