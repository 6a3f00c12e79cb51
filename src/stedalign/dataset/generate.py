"""Simulating a dataset: kill-safe, resumable, and the same bits however it is cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.dataset.parts import BATCH_SAMPLES, MOST_PARTS, Part, PartError, Shard, cut
from stedalign.dataset.spec import DatasetSpec, check_moves, draw
from stedalign.dataset.storage import check_identity, check_parts, shown_parts, write
from stedalign.files import remove_leftovers
from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.optics.parameters import MASK_OFFSETS
from stedalign.progress import SILENT, Progress

# The sections cut another part of an image that has moved, so one step does not center it; three bring most
# images to a third of a pixel, which is what a few moves of the stage reach.
CENTERING_STEPS = 3


class GenerationInterrupted(KeyboardInterrupt):
    """Ctrl-C while a dataset was made; the message says what was kept."""


def generate(
    spec: DatasetSpec,
    forward: ForwardSpec,
    path: Path,
    *,
    overwrite: bool = False,
    most_parts: int = MOST_PARTS,
    progress: Progress = SILENT,
    simulator: Simulator | None = None,
) -> Path:
    """Make the dataset ``path`` (HDF5), go on with a started one, or return a finished one as it is.

    ``simulator`` is one that was ``planned`` before. Raises ``InputError`` when ``path`` holds another dataset, or
    shows parts that are gone, and ``overwrite`` is not set, or when the optics cannot be planned; and
    ``GenerationInterrupted`` on Ctrl-C, ``Cancelled`` where ``progress`` is; nothing half-made is ever found at
    ``path``, and the parts that are finished are kept.
    """
    if not is_finished(spec, forward, path, overwrite):
        remove_leftovers(path.parent, path.name)
        parts = cut(path, spec, forward, most_parts)
        with _kept(parts):
            _make(parts, spec, forward, progress, simulator)
            write(path, parts, spec, forward, joined=False, progress=progress)
    return path


def generate_shard(
    spec: DatasetSpec,
    forward: ForwardSpec,
    path: Path,
    shard: Shard,
    *,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> list[Part]:
    """Make the share of the parts of ``path`` that is ``shard``'s, and nothing else; other jobs make the others.

    Parts that are there are kept, those of a joined dataset mended. Raises like ``generate``, and ``InputError`` where
    there are more shards than parts.
    """
    parts = shard.of(cut(path, spec, forward))
    if path.exists() and not overwrite:
        check_identity(path, spec, forward)
        if not shown_parts(path):
            return parts
    with _kept(parts):
        _make(parts, spec, forward, progress)
    return parts


def join_shards(
    spec: DatasetSpec, forward: ForwardSpec, path: Path, *, overwrite: bool = False, progress: Progress = SILENT
) -> Path:
    """Make the dataset ``path`` a view of its parts, all of which are read and checked; they stay beside it.

    Raises like ``generate``, and ``PartError`` where a part is missing, damaged or of another dataset.
    """
    if not is_finished(spec, forward, path, overwrite):
        write(path, cut(path, spec, forward), spec, forward, joined=True, progress=progress)
    return path


def is_finished(spec: DatasetSpec, forward: ForwardSpec, path: Path, overwrite: bool = False) -> bool:
    """Whether there is nothing left to make; raises ``InputError`` like ``generate``."""
    if overwrite or not path.exists():
        return False
    check_identity(path, spec, forward)
    check_parts(path)
    return True


def planned(spec: DatasetSpec, forward: ForwardSpec) -> Simulator:
    """What simulates a dataset that is to be made.

    Raises ``InputError`` where the optics cannot be planned, or where images leave the field that they are planned
    for.
    """
    check_moves(spec.shift_nm, forward.sampling, "shift_nm")
    return Simulator(spec, forward)


@contextmanager
def _kept(parts: list[Part]) -> Iterator[None]:
    """Turn Ctrl-C into ``GenerationInterrupted``."""
    try:
        yield
    except KeyboardInterrupt:
        finished = sum(part.path.exists() for part in parts)
        raise GenerationInterrupted(
            f"stopped: {finished} of {len(parts)} parts are finished and kept in {parts[0].folder}; "
            "making the same dataset again goes on from there"
        ) from None


def _make(
    parts: list[Part],
    spec: DatasetSpec,
    forward: ForwardSpec,
    progress: Progress,
    simulator: Simulator | None = None,
) -> None:
    """Make the parts that are not there yet or not sound."""
    done, total = 0, sum(part.count for part in parts)
    for part in parts:
        try:
            part.read(forward.sampling.samples)
        except PartError:
            if simulator is None:
                progress("planning the optics")
                simulator = planned(spec, forward)
            part.write(simulator.images(part.first, part.count))
        done += part.count
        progress("simulating images", done, total)


class Simulator:
    """Noise-free images of the samples of one dataset."""

    def __init__(self, spec: DatasetSpec, forward: ForwardSpec) -> None:
        drawn = draw(spec)
        free = dict.fromkeys(MASK_OFFSETS, spec.mask_offset) if spec.mask_offset else {}
        self.model = ForwardModel(forward, drawn.modes, free=free)
        offsets = torch.from_numpy(drawn.mask_offset(forward.beam)) if free else None
        waves, shift = torch.from_numpy(drawn.waves), torch.from_numpy(drawn.shift_nm)
        self.parameters = self.model.layout.pack_focus(waves, shift, free=offsets).numpy().astype(np.float32)
        """One row for each sample, as ``ForwardModel.intensity`` takes them."""
        self.centered = spec.centered
        self.pixel_nm = torch.tensor(forward.sampling.pixel_nm)

    def images(self, first: int, count: int) -> NDArray[np.float32]:
        """Intensity (count, 3, N, N) in units of the unaberrated crest; ``BATCH_SAMPLES`` divides ``first``."""
        rows = np.zeros((-(-count // BATCH_SAMPLES) * BATCH_SAMPLES, self.parameters.shape[1]), dtype=np.float32)
        rows[:count] = self.parameters[first : first + count]
        batches = torch.split(torch.from_numpy(rows), BATCH_SAMPLES)
        with torch.no_grad():
            return torch.cat([self.model.intensity(self.placed(batch)) for batch in batches])[:count].numpy()

    @torch.no_grad()
    def placed(self, parameters: Tensor) -> Tensor:
        """Rows of ``parameters`` with the shifts that the images end up with, centering included."""
        if not self.centered:
            return parameters
        moved, shift = parameters.clone(), self.model.layout.shift
        moved[:, shift] = 0
        for _ in range(CENTERING_STEPS):
            moved[:, shift] -= center_of_mass_px(self.model.intensity(moved)) * self.pixel_nm
        moved[:, shift] += parameters[:, shift]
        return moved
