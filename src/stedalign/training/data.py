"""Training pictures in memory, with fresh noise at each loading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from stedalign.dataset.storage import read_mask_offset, read_split
from stedalign.imaging.sections import normalize
from stedalign.networks.outputs import Outputs
from stedalign.training.spec import NoiseSpec

BACKGROUND_UNIT = 0.001
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Noise-free pictures (n, 3, N, N) in units of the unaberrated crest, and what a network is to predict of them."""

    images: Tensor
    labels: Tensor
    """(n, outputs) in the order and units of ``Outputs``."""

    @classmethod
    def load(cls, path: Path, split: str, outputs: Outputs) -> Pictures:
        """One split ("train", "val", "test") of a dataset file, with the labels for ``outputs``.

        Raises ``ValueError`` when the file is damaged or lacks such labels.
        """
        images, peak_waves = read_split(path, split)
        labels = [] if outputs.modes is None else [torch.from_numpy(peak_waves)]
        if outputs.mask_offset:
            labels.append(torch.from_numpy(read_mask_offset(path, split)))
        return cls(torch.from_numpy(images), torch.cat(labels, dim=1))

    def __len__(self) -> int:
        return len(self.images)


def add_noise(images: Tensor, noise: NoiseSpec, generator: Generator) -> Tensor:
    """Counts for intensities of any shape relative to the unaberrated crest, background included.

    Without photon noise the result stays in units of the crest. Nothing is rescaled here: a scale taken from
    the noise itself (min-max) is what spoiled the report's noise-trained networks.
    """
    expected = images + noise.background_fraction
    if noise.background:
        uneven = torch.randn(images.shape, generator=generator, dtype=images.dtype)
        expected = (expected + uneven * (BACKGROUND_UNIT * noise.background)).clamp_min(0)
    # Rounding may leave the darkest pixels a hair below zero.
    return torch.poisson((expected * noise.photons).clamp_min(0), generator) if noise.photons else expected


@dataclass(frozen=True, eq=False)
class NoisyBatches:
    """One pass over the pictures: batches of normalized noisy sections (B, 3, N, N) and labels (B, outputs).

    ``seed`` alone decides order and noise, so the same seed gives the same bits again. With several processes
    each takes every ``world``-th batch.
    """

    pictures: Pictures
    noise: NoiseSpec
    batch_size: int
    seed: int
    shuffle: bool = False
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        batches = -(-len(self.pictures) // self.batch_size)
        # Each process must make as many steps as the others.
        return batches // self.world if self.shuffle else len(range(self.rank, batches, self.world))

    def __iter__(self) -> Iterator[Batch]:
        generator = Generator().manual_seed(self.seed)
        count = len(self.pictures)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        generator.manual_seed(self.seed + self.rank + 1)
        mine = torch.split(order, self.batch_size)[self.rank :: self.world][: len(self)]
        for rows in mine:
            noisy = add_noise(self.pictures.images[rows], self.noise, generator)
            yield normalize(noisy), self.pictures.labels[rows]


def channel_statistics(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (channels,) over pictures that come in batches (B, channels, N, N)."""
    total, squares, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64), 0
    for images in batches:
        exact = images.double()
        total = total + exact.sum((0, 2, 3))
        squares = squares + exact.square().sum((0, 2, 3))
        count += exact[:, 0].numel()
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp_min(1e-12).sqrt().float()
