"""What the Lightning trainer trains: loss, optimizer, and the figures it logs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.networks.outputs import Outputs, log_likelihood_loss
from stedalign.optics.parameters import MASK_OFFSETS, SHIFTS
from stedalign.training.batches import Batch
from stedalign.training.record import CHECKPOINT_KEY, run_record
from stedalign.training.seeds import Stream, stream_seed
from stedalign.training.spec import TrainSpec

WAVE_ERROR, OFFSET_ERROR, SHIFT_ERROR = "error_milliwaves", "error_pupil_radii", "error_nm"
"""Groups of curves: rms errors of each output, and "total", of the wavefront, of the mask offset and of the shift."""
SQUARED = "squared_"
WARM_UP_IMAGES = 50_000
"""Over which the learning rate rises, where it later falls as a cosine."""
LIKELIHOOD_BETA = 0.5
"""Power of the variance by which errors count in training."""


def loss(prediction: Tensor, labels: Tensor, outputs: Outputs, *, training: bool = False) -> Tensor:
    """Of outputs (B, len(outputs)) for labels (B, labels).

    The origin's, the mean square error of each over the batch, summed over the outputs; peak waves and pupil radii
    weigh the same. For networks that tell their own variances the likelihood.
    """
    if outputs.sigma:
        return log_likelihood_loss(outputs, prediction, labels, LIKELIHOOD_BETA if training else 0.0)
    return (prediction - labels).square().mean(0).sum()


def squared_errors(prediction: Tensor, labels: Tensor, outputs: Outputs) -> dict[str, Tensor]:
    """The squares of the errors that the curves of the same names show, averaged over a batch (B, outputs)."""
    error = outputs.read(outputs.values(prediction) - labels)
    squares: dict[str, Tensor] = {}
    if outputs.modes is not None and error.waves is not None:
        names = [f"{mode.n}_{mode.m}" for mode in outputs.modes]
        squares |= _mean_squares(WAVE_ERROR, names, 1000 * error.waves)
    if error.mask_offset is not None:
        squares |= _mean_squares(OFFSET_ERROR, MASK_OFFSETS, error.mask_offset)
    if error.shift_nm is not None:
        squares |= _mean_squares(SHIFT_ERROR, SHIFTS, error.shift_nm)
    return squares


def _mean_squares(group: str, names: Sequence[str], errors: Tensor) -> dict[str, Tensor]:
    """Of each column of ``errors`` (B, len(names)), and of the length of the rows."""
    means = errors.square().mean(0)
    return {f"{group}/{name}": value for name, value in zip((*names, "total"), (*means, means.sum()), strict=True)}


class Regression(lightning.LightningModule):
    """A network that learns its outputs."""

    def __init__(self, network: nn.Module, spec: TrainSpec, forward: ForwardSpec) -> None:
        super().__init__()
        self.network = network
        self.outputs = spec.outputs
        self.spec = spec
        self.optics = forward

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(images)
        return outputs

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CHECKPOINT_KEY] = json.dumps(run_record(self.spec, self.optics))

    def on_train_epoch_start(self) -> None:
        # Dropout draws from torch's global generator: seeded here, a resumed run repeats the unbroken one.
        torch.manual_seed(stream_seed(self.spec.seed, Stream.DROPOUT, self.current_epoch) + self.global_rank)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        images, labels = batch
        value = loss(self(images), labels, self.outputs, training=True)
        self.log("loss/train", value, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return value

    def validation_step(self, batch: Batch, _: int) -> None:
        images, labels = batch
        prediction = self(images)
        squares = squared_errors(prediction, labels, self.outputs)
        figures = {"loss/val": loss(prediction, labels, self.outputs)} | {
            SQUARED + name: value for name, value in squares.items()
        }
        # Over several processes Lightning rounds the mean weight down to a whole number.
        weight = len(labels) * self.trainer.world_size
        self.log_dict(figures, on_epoch=True, logger=False, batch_size=weight, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Roots only after the mean over the epoch: rms errors of each output and in all."""
        logged = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        errors = {name.removeprefix(SQUARED): value**0.5 for name, value in logged.items() if name.startswith(SQUARED)}
        self.log_dict(errors, sync_dist=True)
        self.log("loss/val_epoch", logged["loss/val"], sync_dist=True)

    def configure_optimizers(self) -> Any:
        spec = self.spec
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
        )
        if spec.cosine:
            steps = int(self.trainer.estimated_stepping_batches)
            rise = min(max(1, WARM_UP_IMAGES // spec.batch_size), steps)

            def factor(step: int) -> float:
                return min(1.0, (step + 1) / rise) * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2

            schedule: Any = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
        if not spec.step_epochs:
            return optimizer
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, spec.step_epochs, gamma=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
