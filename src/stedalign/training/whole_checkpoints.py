"""Checkpoints that a kill in the middle of writing cannot spoil."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from stedalign.files import replacing


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written beside the old one and renamed.

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
