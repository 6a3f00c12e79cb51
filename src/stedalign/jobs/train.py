"""Training a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stedalign.config.setup import Setup
from stedalign.progress import Cancel, Progress, Tell
from stedalign.training import run
from stedalign.training.run import Result
from stedalign.training.spec import TrainSpec

if TYPE_CHECKING:
    from stedalign.training.launch import Devices
    from stedalign.training.trainer import Epoch


def train(
    setup: Setup,
    spec: TrainSpec,
    run_folder: Path,
    *,
    data: Path | None = None,
    resume: Path | None = None,
    warm_start: Path | None = None,
    devices: Devices = 1,
    nodes: int = 1,
    watch: Callable[[Epoch], None] | None = None,
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> Result:
    """Make the data where they are missing, train, and export the best weights into ``run_folder``.

    See ``stedalign.training.run.train`` for what the options mean and what it raises. ``watch`` is told each epoch.
    A run that was stopped goes on with ``resume``.
    """
    return run.train(
        spec,
        setup.forward,
        run_folder,
        data,
        resume=resume,
        warm_start=warm_start,
        devices=devices,
        nodes=nodes,
        progress=Progress(progress, cancel),
        watch=watch,
    )
