"""Simulating a dataset: kill-safe, resumable, and the same bits however it is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from stedalign.dataset.spec import DatasetSpec, draw
from stedalign.dataset.storage import Shard, check_identity, clear_leftovers, identity, join, parts_folder
from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.forward import ForwardModel, ForwardSpec

# Matrix products may round differently for another batch size, so the batch is no parameter.
BATCH = 32
# The sections cut another part of a picture that has moved, so one step does not center it; three bring most
# pictures to a third of a pixel, which is what a few moves of the stage reach.
CENTERING_STEPS = 3
Report = Callable[[int, int], None]
"""Called with the samples that are done and the samples in all."""


class GenerationInterrupted(KeyboardInterrupt):
    """Ctrl-C while a dataset was made; the message says what was kept."""


def generate(
    spec: DatasetSpec,
    forward: ForwardSpec,
    path: Path,
    *,
    overwrite: bool = False,
    batches_per_shard: int = 32,
    report: Report | None = None,
) -> Path:
    """Make the dataset ``path`` (HDF5), go on with a started one, or return a finished one as it is.

    Raises ``ValueError`` when ``path`` holds another dataset and ``overwrite`` is not set, and
    ``GenerationInterrupted`` on Ctrl-C; nothing half-made is ever found at ``path``.
    """
    if path.exists() and not overwrite:
        check_identity(path, spec, forward)
        return path
    clear_leftovers(path)
    size, name = batches_per_shard * BATCH, identity(spec, forward)
    shards = [
        Shard(parts_folder(path), name, first, min(size, spec.samples - first))
        for first in range(0, spec.samples, size)
    ]
    finished = 0
    try:
        simulator = None
        for shard in shards:
            if shard.read(forward.sampling.samples) is None:
                simulator = simulator or Simulator(spec, forward)
                shard.write(simulator.images(shard.first, shard.count))
            finished += 1
            if report:
                report(shard.first + shard.count, spec.samples)
        join(path, shards, spec, forward)
    except KeyboardInterrupt:
        raise GenerationInterrupted(
            f"stopped: {finished} of {len(shards)} parts are finished and kept in {parts_folder(path)}; "
            "making the same dataset again goes on from there"
        ) from None
    return path


class Simulator:
    """Noise-free pictures of the samples of one dataset."""

    def __init__(self, spec: DatasetSpec, forward: ForwardSpec) -> None:
        drawn = draw(spec)
        columns = [drawn.waves, drawn.shift_nm]
        free = {}
        if spec.mask_offset:
            columns.append(drawn.mask_offset(forward.beam))
            free = dict.fromkeys(("mask_offset_x", "mask_offset_y"), spec.mask_offset)
        self.parameters = np.concatenate(columns, axis=1).astype(np.float32)
        """One row for each sample, as ``ForwardModel.intensity`` takes them."""
        self.centered = spec.centered
        self.model = ForwardModel(forward, drawn.modes, free=free)
        self.pixel_nm = torch.tensor(forward.sampling.pixel_nm)

    def images(self, first: int, count: int) -> NDArray[np.float32]:
        """Intensity (count, 3, N, N) in units of the unaberrated crest; ``BATCH`` divides ``first``."""
        rows = np.zeros((-(-count // BATCH) * BATCH, self.parameters.shape[1]), dtype=np.float32)
        rows[:count] = self.parameters[first : first + count]
        batches = torch.split(torch.from_numpy(rows), BATCH)
        return torch.cat([self._simulate(batch) for batch in batches])[:count].numpy()

    @torch.no_grad()
    def _simulate(self, parameters: Tensor) -> Tensor:
        if not self.centered:
            return self.model.intensity(parameters)
        moved, shift = parameters.clone(), self.model.shift
        moved[:, shift] = 0
        for _ in range(CENTERING_STEPS):
            moved[:, shift] -= center_of_mass_px(self.model.intensity(moved)) * self.pixel_nm
        moved[:, shift] += parameters[:, shift]
        return self.model.intensity(moved)


@contextmanager
def progress_bar(title: str = "simulating") -> Iterator[Report]:
    """A bar in the terminal, for the ``report`` of ``generate``."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, transient=True, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
