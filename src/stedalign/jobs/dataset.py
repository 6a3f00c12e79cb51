"""Making a dataset, whole or as one of the jobs that share it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stedalign.config.setup import Setup
from stedalign.dataset.generate import generate, generate_shard, join_shards
from stedalign.dataset.parts import Shard, parts_folder
from stedalign.dataset.spec import SPLITS, DatasetSpec
from stedalign.progress import Cancel, Progress, Tell


@dataclass(frozen=True)
class MadeDataset:
    """A dataset that is finished."""

    file: Path
    spec: DatasetSpec

    @property
    def counts(self) -> dict[str, int]:
        """Samples in each split."""
        return dict(zip(SPLITS, self.spec.counts, strict=True))

    def to_json(self) -> dict[str, Any]:
        return {"file": str(self.file), "samples": self.counts, "spec": self.spec.model_dump(mode="json")}


@dataclass(frozen=True)
class MadeShard:
    """One shard of a dataset, all of whose parts are there."""

    file: Path
    """The dataset, which may not be there yet."""
    shard: Shard
    first: int
    """Its first sample, counted from 0."""
    samples: int

    @property
    def folder(self) -> Path:
        """Where the parts lie."""
        return parts_folder(self.file)

    def to_json(self) -> dict[str, Any]:
        return {"file": str(self.file), "shard": str(self.shard), "first": self.first, "samples": self.samples}


def make_dataset(
    setup: Setup,
    file: Path,
    spec: DatasetSpec,
    *,
    overwrite: bool = False,
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> MadeDataset:
    """Make the dataset ``file``, or go on with a started one; a finished one is left as it is.

    A job that is stopped keeps the parts that are finished. Raises ``InputError`` as ``generate`` does.
    """
    generate(spec, setup.forward, file, overwrite=overwrite, progress=Progress(progress, cancel))
    return MadeDataset(file, spec)


def make_shard(
    setup: Setup,
    file: Path,
    spec: DatasetSpec,
    shard: Shard,
    *,
    overwrite: bool = False,
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> MadeShard:
    """Make one shard of the dataset ``file`` alone. Raises ``InputError`` as ``generate_shard`` does."""
    steps = Progress(progress, cancel)
    parts = generate_shard(spec, setup.forward, file, shard, overwrite=overwrite, progress=steps)
    return MadeShard(file, shard, parts[0].first, sum(part.count for part in parts))


def join_dataset(
    setup: Setup,
    file: Path,
    spec: DatasetSpec,
    *,
    overwrite: bool = False,
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> MadeDataset:
    """Make the dataset ``file`` from its shards, which stay beside it. Raises ``InputError`` where one is missing."""
    join_shards(spec, setup.forward, file, overwrite=overwrite, progress=Progress(progress, cancel))
    return MadeDataset(file, spec)
