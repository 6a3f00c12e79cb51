"""Training images in memory, with fresh noise at each loading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from stedalign.dataset.storage import read_mask_offset, read_split
from stedalign.errors import InputError
from stedalign.imaging.images import normalize
from stedalign.networks.outputs import Outputs
from stedalign.training.spec import NoiseSpec

BACKGROUND_UNIT = 0.001
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Noise-free images (n, 3, N, N) in units of the unaberrated crest, and what a network is to predict of them."""

    images: Tensor
    labels: Tensor
    """(n, outputs) in the order and units of ``Outputs``."""

    @classmethod
    def load(cls, path: Path, split: str, outputs: Outputs) -> LabeledImages:
        """One split ("train", "val", "test") of a dataset file, with the labels for ``outputs``.

        Raises ``InputError`` when the file is damaged or lacks such labels.
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
    the noise itself (min-max) is what spoiled the origin's noise-trained networks.
    """
    expected = images + noise.background_fraction
    if noise.background:
        uneven = torch.randn(images.shape, generator=generator, dtype=images.dtype)
        expected = (expected + uneven * (BACKGROUND_UNIT * noise.background)).clamp_min(0)
    # Rounding may leave the darkest pixels a hair below zero.
    return torch.poisson((expected * noise.photons).clamp_min(0), generator) if noise.photons else expected


@dataclass(frozen=True, eq=False)
class NoisyBatches:
    """One pass over the images: batches of normalized noisy sections (B, 3, N, N) and labels (B, outputs).

    ``seed`` alone decides order and noise, so the same seed gives the same bits again. Of several processes, ``world``
    in all, each takes its share of every batch; the shares together are the batch of one process, with the same noise.
    A last batch with fewer images than processes joins the one before, and shuffled batches leave out up to
    ``world`` - 1 images, others in each pass, so that the shares are equal, as the mean of their gradients requires.

    Raises ``InputError`` for a batch that the processes cannot share evenly, or with fewer images than processes.
    """

    images: LabeledImages
    noise: NoiseSpec
    batch_size: int
    """Images of all processes together."""
    seed: int
    shuffle: bool = False
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.world:
            raise InputError(f"{self.world} processes cannot share batches of {self.batch_size} images evenly")
        if len(self.images) < self.world:
            raise InputError(f"{len(self.images)} images are too few for {self.world} processes")

    def __len__(self) -> int:
        full, rest = divmod(len(self.images), self.batch_size)
        return full + (rest >= self.world)

    def __iter__(self) -> Iterator[Batch]:
        generator = Generator().manual_seed(self.seed)
        count = len(self.images)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        for rows in order.tensor_split([self.batch_size * step for step in range(1, len(self))]):
            shared = len(rows) // self.world * self.world if self.shuffle else len(rows)
            mine = rows[:shared][self.rank :: self.world]
            yield normalize(self._noisy(mine, generator)), self.images.labels[mine]

    def _noisy(self, rows: Tensor, generator: Generator) -> Tensor:
        """The noise of an image does not depend on the other images, nor on the process that shows it."""
        noisy = []
        for row in rows.tolist():
            generator.manual_seed(self.seed + 1 + row)
            noisy.append(add_noise(self.images.images[row], self.noise, generator))
        return torch.stack(noisy)


def channel_statistics(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (channels,) over images that come in batches (B, channels, N, N)."""
    total, squares, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64), 0
    for images in batches:
        exact = images.double()
        total = total + exact.sum((0, 2, 3))
        squares = squares + exact.square().sum((0, 2, 3))
        count += exact[:, 0].numel()
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp_min(1e-12).sqrt().float()
