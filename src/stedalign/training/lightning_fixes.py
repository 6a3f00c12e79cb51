"""What Lightning (2.6) does otherwise than a training here needs: its log, its checkpoints, its handler of SIGTERM."""

from __future__ import annotations

import io
import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO

from stedalign.files import replacing

LIGHTNING_LOGGERS = "lightning.pytorch", "lightning.fabric"


@contextmanager
def quiet() -> Iterator[None]:
    """No advertisements, and no warnings that do not concern our users, while the block runs: errors alone."""
    loggers = [logging.getLogger(name) for name in LIGHTNING_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Lightning's own use of an old torch call (Lightning 2.6 with torch 2.13).
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            # A resumed run keeps its folder; whether that is allowed is decided in ``run``.
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            # A checkpoint that goes on elsewhere: the best epoch is then looked for among the new ones.
            warnings.filterwarnings("ignore", message="The dirpath has changed from")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written beside the old one and renamed, so that a kill cannot spoil one.

    Lightning itself writes to the system's temporary folder and moves the file from there, which, from one file system
    to another, is a copy that a kill cuts short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            # Not torch.save to the file, which tells a full disk by an error of its own.
            content = io.BytesIO()
            torch.save(checkpoint, content)
            temporary.write_bytes(content.getbuffer())


class EndOnSigterm(Callback):
    """Takes Lightning's handler of SIGTERM away, which makes several processes wait for each other for ever.

    Whatever ends a training, it goes on from its last checkpoint, and the other processes end with the first.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
