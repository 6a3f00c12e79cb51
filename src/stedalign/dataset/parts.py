"""The parts of a dataset: files with a slice of its images each, and who makes which of them.

A dataset is cut into the same parts whoever makes it: one process, or the jobs of an array, one shard each. They live
in ``NAME.h5.parts/``. Each is written under a temporary name, synced and renamed; its name and attributes say to which
dataset and samples it belongs, and its checksum is verified before it is used.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from stedalign.dataset.spec import DatasetSpec
from stedalign.errors import InputError
from stedalign.files import remove_leftovers, replacing
from stedalign.imaging.forward_spec import ForwardSpec

Singles = NDArray[np.float32]
FORMAT_VERSION = 1
# Matrix products may round differently for another batch size, so the batch is no parameter.
BATCH_SAMPLES = 32
# HDF5 keeps every part of a joined dataset open, and where it cannot, it reads nothing without a word. Some systems let
# a process open 256 files.
MOST_PARTS = 128


class PartError(InputError):
    """A part is missing, damaged or of another dataset; the message is one line and names its file."""


def identity(spec: DatasetSpec, forward: ForwardSpec) -> str:
    """The fingerprint of a dataset: what it holds, through which optics, in which format."""
    return hashlib.sha256(f"{FORMAT_VERSION} {spec.hash} {forward.hash}".encode()).hexdigest()[:16]


def checksum(images: Singles) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


@contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file that is written whole or not at all. Raises ``OSError`` with its name where the disk is full."""
    with replacing(path) as temporary, _Disk(temporary, "r+") as disk:
        try:
            with h5py.File(disk, "w") as file:
                yield file
        finally:
            if disk.refusal is not None:
                raise disk.refusal


class _Disk(io.FileIO):
    """A file that keeps to itself that the disk is full.

    HDF5 writes when it likes, mostly while it closes a file, and where it cannot, it neither closes the file nor ends
    without tracebacks on standard error.
    """

    refusal: OSError | None = None

    def write(self, data: Any, /) -> int:
        left = memoryview(data)
        try:
            while left and self.refusal is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.refusal = error
        return len(data)

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.refusal = self.refusal or error
            return size or 0


@dataclass(frozen=True)
class Part:
    """One slice of a dataset's images: the samples ``first`` .. ``first + count - 1``, in their own file."""

    folder: Path
    identity: str
    first: int
    count: int

    @property
    def path(self) -> Path:
        return self.folder / f"{self.identity}-{self.first:08d}.h5"

    def write(self, images: Singles) -> None:
        """Write images (count, 3, N, N), whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Those of other parts may belong to jobs that are writing at this moment.
        remove_leftovers(self.folder, self.path.name)
        with new_file(self.path) as file:
            file.create_dataset("img", data=images)
            file.attrs.update(identity=self.identity, first=self.first, sha256=checksum(images))

    def read(self, samples: int) -> Singles:
        """The images (count, 3, N, N). Raises ``PartError`` unless they are there as they were written."""
        try:
            with h5py.File(self.path, "r") as file:
                images: Singles = file["img"][:]
                held = file.attrs["identity"], int(file.attrs["first"]), images.shape
                recorded = file.attrs["sha256"]
        except FileNotFoundError:
            raise PartError(f"{self} is missing") from None
        except (OSError, KeyError):
            raise PartError(f"{self} is damaged: it cannot be read") from None
        if held != (self.identity, self.first, (self.count, 3, samples, samples)):
            raise PartError(f"{self} holds images of another dataset or place")
        if recorded != checksum(images):
            raise PartError(f"{self} is damaged (checksum)")
        return images

    def __str__(self) -> str:
        return f"{self.path} (images {self.first} to {self.first + self.count - 1})"


@dataclass(frozen=True)
class Shard:
    """What one of ``count`` jobs makes: the ``number``-th share of the parts, counted from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that "3/8" names. Raises ``InputError`` for anything that names none."""
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        shard = cls(*map(int, match.groups())) if match else cls(0, 0)
        if not 1 <= shard.number <= shard.count:
            raise InputError(f"{text!r} is no shard: 3/8 is the third of eight, counted from 1")
        return shard

    def of(self, parts: list[Part]) -> list[Part]:
        """Its share of ``parts``. Raises ``InputError`` where there are fewer parts than shards."""
        if self.count > len(parts):
            samples = parts[-1].first + parts[-1].count
            raise InputError(f"{samples} samples make {len(parts)} parts, too few for {self.count} shards")
        start, stop = ((self.number - back) * len(parts) // self.count for back in (1, 0))
        return parts[start:stop]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def cut(path: Path, spec: DatasetSpec, forward: ForwardSpec, most: int = MOST_PARTS) -> list[Part]:
    """All parts of the dataset ``path`` in their order: its batches, shared out evenly over ``most`` parts at most."""
    batches = -(-spec.samples // BATCH_SAMPLES)
    count = min(batches, most)
    firsts = [BATCH_SAMPLES * (batches * index // count) for index in range(count)]
    name = identity(spec, forward)
    return [
        Part(parts_folder(path), name, first, stop - first)
        for first, stop in zip(firsts, [*firsts[1:], spec.samples], strict=True)
    ]


def parts_folder(path: Path) -> Path:
    """Where the parts of the dataset ``path`` live while it is made, and where they stay if it is joined from them."""
    return path.with_name(path.name + ".parts")
