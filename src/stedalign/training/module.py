"""What the Lightning trainer trains: loss, optimizer, and the figures it logs."""

from __future__ import annotations

import json
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from stedalign.imaging.forward import ForwardSpec
from stedalign.optics.wavefront import ModeSet
from stedalign.training.data import Batch, NoisyBatches, Pictures
from stedalign.training.record import CHECKPOINT_KEY, run_record
from stedalign.training.seeds import Stream, stream_seed
from stedalign.training.spec import TrainSpec


def loss(prediction: Tensor, labels: Tensor) -> Tensor:
    """The report's loss for coefficients (B, modes) in peak waves: the mean square error of each output over
    the batch, summed over the outputs."""
    return (prediction - labels).square().mean(0).sum()


def squared_error_waves(prediction: Tensor, labels: Tensor, modes: ModeSet) -> Tensor:
    """Squared errors (B, modes) in rms waves squared, for coefficients in peak waves."""
    norms = torch.as_tensor(modes.norms, dtype=prediction.dtype, device=prediction.device)
    return ((prediction - labels) / norms).square()


class Regression(lightning.LightningModule):
    """A network that learns coefficients in peak waves."""

    def __init__(self, network: nn.Module, spec: TrainSpec, forward: ForwardSpec) -> None:
        super().__init__()
        self.network = network
        self.modes = spec.dataset.mode_set
        self.spec = spec
        self.optics = forward

    def forward(self, pictures: Tensor) -> Tensor:
        coefficients: Tensor = self.network(pictures)
        return coefficients

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CHECKPOINT_KEY] = json.dumps(run_record(self.spec, self.optics))

    def on_train_epoch_start(self) -> None:
        # Dropout draws from torch's global generator: seeded here, a resumed run repeats the unbroken one.
        torch.manual_seed(stream_seed(self.spec.seed, Stream.DROPOUT, self.current_epoch) + self.global_rank)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        images, labels = batch
        value = loss(self(images), labels)
        self.log("loss/train", value, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return value

    def validation_step(self, batch: Batch, _: int) -> None:
        images, labels = batch
        prediction = self(images)
        squared = squared_error_waves(prediction, labels, self.modes)
        figures = {"loss/val": loss(prediction, labels), "squared_error/total": squared.sum(1).mean()}
        for mode, value in zip(self.modes, squared.mean(0), strict=True):
            figures[f"squared_error/{mode.n}_{mode.m}"] = value
        self.log_dict(figures, on_epoch=True, logger=False, batch_size=len(labels), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Roots only after the mean over the epoch: rms errors in milliwaves, of each mode and in all."""
        logged = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        errors = {
            name.replace("squared_error", "error_milliwaves"): 1000 * value**0.5
            for name, value in logged.items()
            if name.startswith("squared_error/")
        }
        self.log_dict(errors, sync_dist=True)
        self.log("loss/val_epoch", logged["loss/val"], sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.spec.learning_rate)
        if not self.spec.step_epochs:
            return optimizer
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, self.spec.step_epochs, gamma=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}


class NoisyData(lightning.LightningDataModule):
    """Fresh noise and order for each epoch of training, and always the same for validation."""

    def __init__(self, training: Pictures, validation: Pictures, spec: TrainSpec) -> None:
        super().__init__()
        self.training, self.validation, self.spec = training, validation, spec

    def train_dataloader(self) -> NoisyBatches:
        trainer = self.trainer
        assert trainer is not None
        seed = stream_seed(self.spec.seed, Stream.TRAINING, trainer.current_epoch)
        return NoisyBatches(
            self.training,
            self.spec.noise,
            self.spec.batch_size,
            seed,
            shuffle=True,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )

    def val_dataloader(self) -> NoisyBatches:
        trainer = self.trainer
        assert trainer is not None
        seed = stream_seed(self.spec.seed, Stream.VALIDATION)
        return NoisyBatches(
            self.validation,
            self.spec.noise,
            self.spec.batch_size,
            seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
