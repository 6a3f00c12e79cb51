"""Where the batches of a training come from: a dataset with fresh noise, or images without end."""

from __future__ import annotations

from pathlib import Path

import lightning
from torch.utils.data import DataLoader

from stedalign.training.batches import Batch, LabeledImages, NoisyBatches
from stedalign.training.seeds import Stream, stream_seed
from stedalign.training.simulated_batches import SimulatedBatches, SimulatedImages, fixed_batches
from stedalign.training.spec import TrainSpec

STATISTICS_IMAGES = 512
"""Simulated images from which the input statistics are taken."""


class NoisyData(lightning.LightningDataModule):
    """A dataset file: fresh noise and order for each epoch of training, and always the same for validation."""

    def __init__(self, path: Path, spec: TrainSpec) -> None:
        super().__init__()
        self.path, self.spec = path, spec
        self.training, self.validation = (LabeledImages.load(path, split, spec.outputs) for split in ("train", "val"))

    def first(self) -> NoisyBatches:
        """Training images, for their statistics."""
        return self._batches(self.training, Stream.STATISTICS)

    def unseen(self) -> NoisyBatches:
        """Images that neither training nor validation shows."""
        return self._batches(LabeledImages.load(self.path, "test", self.spec.outputs), Stream.TEST)

    def train_dataloader(self) -> NoisyBatches:
        trainer = self.trainer
        assert trainer is not None
        epoch, rank, world = trainer.current_epoch, trainer.global_rank, trainer.world_size
        return self._batches(self.training, Stream.TRAINING, epoch=epoch, shuffle=True, rank=rank, world=world)

    def val_dataloader(self) -> NoisyBatches:
        trainer = self.trainer
        assert trainer is not None
        return self._batches(self.validation, Stream.VALIDATION, rank=trainer.global_rank, world=trainer.world_size)

    def _batches(
        self,
        images: LabeledImages,
        stream: Stream,
        epoch: int = 0,
        shuffle: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> NoisyBatches:
        seed = stream_seed(self.spec.seed, stream, epoch)
        return NoisyBatches(images, self.spec.noise, self.spec.batch_size, seed, shuffle, rank, world)


class SimulatedData(lightning.LightningDataModule):
    """Simulated on the device that trains: other images in each epoch, and always the same for validation."""

    def __init__(self, source: SimulatedImages, spec: TrainSpec) -> None:
        super().__init__()
        self.source, self.spec = source, spec
        self.training: SimulatedBatches | None = None
        self.validation: list[Batch] | None = None

    def setup(self, stage: str) -> None:
        trainer = self.trainer
        assert trainer is not None
        self.source.to(trainer.strategy.root_device)

    def first(self) -> list[Batch]:
        """Training images, for their statistics."""
        return self._fixed(STATISTICS_IMAGES, Stream.STATISTICS)

    def unseen(self) -> list[Batch]:
        """Images that neither training nor validation shows."""
        return self._fixed(self.source.spec.test, Stream.TEST)

    def train_dataloader(self) -> SimulatedBatches:
        trainer = self.trainer
        assert trainer is not None
        # The same object goes on with other images in the next epoch.
        if self.training is None:
            seed = stream_seed(self.spec.seed, Stream.TRAINING, trainer.current_epoch) + trainer.global_rank
            self.training = SimulatedBatches(self.source, self.spec.batch_size, seed, trainer.world_size)
        return self.training

    def val_dataloader(self) -> DataLoader[Batch]:
        trainer = self.trainer
        assert trainer is not None
        if self.validation is None:
            self.validation = self._fixed(self.source.spec.validation, Stream.VALIDATION)
        mine = slice(trainer.global_rank, None, trainer.world_size)
        shares = [(images[mine], labels[mine]) for images, labels in self.validation]
        # Lightning takes a list for several loaders.
        return DataLoader(shares, batch_size=None)  # type: ignore[arg-type]

    def _fixed(self, count: int, stream: Stream) -> list[Batch]:
        return fixed_batches(self.source, count, self.spec.batch_size, stream_seed(self.spec.seed, stream))


Source = NoisyData | SimulatedData
"""Batches for training and validation, shared out among the processes of the trainer, and two more kinds."""
