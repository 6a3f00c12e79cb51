"""The Lightning trainer, set up quietly: checkpoints, TensorBoard, steps and epochs told."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from stedalign.errors import InputError
from stedalign.files import replacing
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.progress import Progress
from stedalign.training.data_modules import Source
from stedalign.training.launch import Processes
from stedalign.training.lightning_fixes import EndOnSigterm, WholeCheckpoints, quiet
from stedalign.training.module import OFFSET_ERROR, SHIFT_ERROR, WAVE_ERROR, Regression
from stedalign.training.record import CHECKPOINT_KEY, check_record
from stedalign.training.run_folder import LOG
from stedalign.training.spec import TrainSpec

ERROR_FORMATS = {
    WAVE_ERROR: "error {:.1f} mλ",
    OFFSET_ERROR: "mask offset {:.4f} pupil radii",
    SHIFT_ERROR: "shift {:.1f} nm",
}
"""How the totals of the curves are printed."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training; the message says what was kept."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training; its text is one line for people."""

    number: int
    """Counted from 1."""
    epochs: int
    train_loss: float
    val_loss: float
    errors: dict[str, float]
    """Of the validation, by the groups of ``ERROR_FORMATS``."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "epoch": self.number,
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            **{f"val_{group}": value for group, value in self.errors.items()},
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        words = "  ".join(ERROR_FORMATS[group].format(value) for group, value in self.errors.items())
        return (
            f"epoch {self.number}/{self.epochs}  training loss {self.train_loss:.4f}  "
            f"validation loss {self.val_loss:.4f}  {words}  {self.seconds:.0f} s"
        )


Watch = Callable[[Epoch], None]
"""Is told each epoch when it is over."""


class EpochLog(Callback):
    """Appends one JSON line per epoch to a file, and tells it to whoever watches."""

    def __init__(self, path: Path, watch: Watch | None) -> None:
        self.path, self.watch, self.start = path, watch, time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the epoch that a killed run wrote down but did not keep: it is trained again."""
        if trainer.is_global_zero and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _epoch(line) <= trainer.current_epoch]
            with replacing(self.path) as temporary:
                temporary.write_text("".join(kept), encoding="utf-8")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Where several processes train, this is where their figures meet: all of them must come here.
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not trainer.is_global_zero:
            return
        errors = {group: figures[f"{group}/total"] for group in ERROR_FORMATS if f"{group}/total" in figures}
        epoch = Epoch(
            trainer.current_epoch + 1,
            trainer.max_epochs or 0,
            figures["loss/train"],
            figures["loss/val"],
            errors,
            time.monotonic() - self.start,
        )
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(epoch.to_json()) + "\n")
        if self.watch is not None:
            self.watch(epoch)


class TellBatches(Callback):
    """Tells each batch, after which a training can be stopped."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tell("training", trainer, batch_idx, trainer.num_training_batches)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._tell("validating", trainer, batch_idx, trainer.num_val_batches[dataloader_idx])

    def _tell(self, doing: str, trainer: Trainer, batch: int, batches: float) -> None:
        title = f"{doing}, epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self.progress(title, batch + 1, int(batches) if math.isfinite(batches) else None)


def _epoch(line: str) -> float:
    """The epoch of a line of the log; that of a torn line lies beyond all others."""
    try:
        return float(json.loads(line)["epoch"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf


def fit(
    network: nn.Module,
    data: Source,
    spec: TrainSpec,
    forward: ForwardSpec,
    run_folder: Path,
    checkpoint: Path | None,
    processes: Processes,
    progress: Progress,
    watch: Watch | None,
) -> tuple[Regression, int, float]:
    """Train ``network``; the best epoch's module, its number counted from 1, and its validation loss.

    ``checkpoint`` is one that ``check_checkpoint`` lets pass. Only the first process returns; the others end here.
    Raises ``TrainingInterrupted`` on Ctrl-C, and ``Cancelled`` after the batch at which ``progress`` was.
    """
    regression = Regression(network, spec, forward)
    folder = run_folder / "checkpoints"
    keeper = ModelCheckpoint(folder, filename="best", monitor="loss/val", enable_version_counter=False)
    # Lightning's own last.ckpt is renewed only when the best one is, and a run would go on from there.
    latest = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    with quiet():
        callbacks: list[Callback] = [keeper, latest, EpochLog(run_folder / LOG, watch)]
        callbacks.append(TellBatches(progress))
        if processes.world > 1:
            callbacks.append(EndOnSigterm())
        trainer = Trainer(
            devices=processes.devices,
            num_nodes=processes.nodes,
            strategy="auto" if processes.world == 1 else "ddp",
            max_epochs=spec.epochs,
            default_root_dir=run_folder,
            logger=TensorBoardLogger(run_folder, name="", version="tensorboard"),
            callbacks=callbacks,
            plugins=[WholeCheckpoints()],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # The sources share out their batches themselves.
            use_distributed_sampler=False,
            gradient_clip_val=spec.gradient_clip or None,
            log_every_n_steps=1,
            reload_dataloaders_every_n_epochs=1,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(regression, data, ckpt_path=checkpoint)
        except SystemExit:
            # Lightning turns Ctrl-C into an exit and leaves the signal ignored.
            signal.signal(signal.SIGINT, handler)
            raise TrainingInterrupted(
                f"stopped: {trainer.current_epoch} of {spec.epochs} epochs are kept; resume {run_folder} to go on"
            ) from None
    processes.leave_to_first()
    best = _load(folder / "best.ckpt")
    regression.cpu().load_state_dict(best["state_dict"])
    score = keeper.best_model_score
    return regression, int(best["epoch"]) + 1, math.nan if score is None else float(score)


def check_checkpoint(checkpoint: Path, spec: TrainSpec, forward: ForwardSpec, *, exported: bool) -> None:
    """Raise ``InputError`` with one line unless there is something left to do from ``checkpoint`` on.

    It must be readable, of a run that differs in its epochs alone (where it says so: the first ones did not), and
    have fewer epochs than are asked for, or as many where their weights were not ``exported`` yet.
    """
    content = _load(checkpoint)
    if CHECKPOINT_KEY in content:
        check_record(json.loads(content[CHECKPOINT_KEY]), spec, forward, f"{checkpoint} is a checkpoint of")
    done = int(content["epoch"]) + 1
    if done > spec.epochs or (done == spec.epochs and exported):
        raise InputError(f"nothing left to train: {checkpoint} has {done} of {spec.epochs} epochs; ask for more")


def _load(checkpoint: Path) -> dict[str, Any]:
    message = f"{checkpoint} cannot be read as a checkpoint of a training run"
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    # A damaged archive can fail anywhere in the reader.
    except Exception as error:
        raise InputError(message) from error
    if not isinstance(content, dict) or not {"epoch", "state_dict"} <= content.keys():
        raise InputError(message)
    return content
