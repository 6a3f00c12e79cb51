"""Datasets on disk: one HDF5 file, joined from checksummed shards so that a kill costs minutes at most.

The shards live in ``NAME.h5.parts/``. Each is written under a temporary name, synced and renamed; its name
and attributes say to which dataset and samples it belongs, and its checksum is verified before it is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from stedalign import __version__
from stedalign.dataset.spec import SPLITS, DatasetSpec, draw
from stedalign.files import leftovers, replacing
from stedalign.imaging.forward import ForwardSpec
from stedalign.networks.recorded import LABEL_UNIT, differences, optics_disagreement
from stedalign.optics.spec import SpecError
from stedalign.optics.wavefront import ModeSet

Singles = NDArray[np.float32]
FORMAT_VERSION = 1


def identity(spec: DatasetSpec, forward: ForwardSpec) -> str:
    """The fingerprint of a dataset: what it holds, through which optics, in which format."""
    return hashlib.sha256(f"{FORMAT_VERSION} {spec.hash} {forward.hash}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Shard:
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
        with replacing(self.path) as temporary, h5py.File(temporary, "w") as file:
            file.create_dataset("img", data=images)
            file.attrs.update(identity=self.identity, first=self.first, sha256=_checksum(images))

    def read(self, samples: int) -> Singles | None:
        """The images (count, 3, N, N), or None where the file is missing, damaged or another dataset's."""
        try:
            with h5py.File(self.path, "r") as file:
                images: Singles = file["img"][:]
                ours = (file.attrs["identity"], int(file.attrs["first"])) == (self.identity, self.first)
                whole = file.attrs["sha256"] == _checksum(images)
        except (OSError, KeyError):
            return None
        return images if ours and whole and images.shape == (self.count, 3, samples, samples) else None


def parts_folder(path: Path) -> Path:
    """Where the shards of the dataset ``path`` live while it is made."""
    return path.with_name(path.name + ".parts")


def clear_leftovers(path: Path) -> None:
    """Remove the temporary files that a killed run left beside ``path`` and among its shards."""
    for leftover in leftovers(path.parent, path.name) + leftovers(parts_folder(path)):
        leftover.unlink(missing_ok=True)


def join(path: Path, shards: Sequence[Shard], spec: DatasetSpec, forward: ForwardSpec) -> None:
    """Write the shards and the labels as one file and remove the shards.

    Raises ``OSError`` when a shard has been damaged since it was checked.
    """
    samples, drawn = forward.sampling.samples, draw(spec)
    labels = {"labels": drawn.peak_waves}
    if spec.mask_offset:
        labels["mask_offset"] = drawn.mask_offset(forward.beam)
    stops = np.cumsum(spec.counts)
    slices = [slice(stop - count, stop) for stop, count in zip(stops.tolist(), spec.counts, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for split, rows in zip(SPLITS, slices, strict=True):
            count = rows.stop - rows.start
            images = file.create_dataset(f"{split}_img", (count, 3, samples, samples), dtype="f4")
            checksum = hashlib.sha256()
            for shard in shards:
                first, last = max(shard.first, rows.start), min(shard.first + shard.count, rows.stop)
                if first < last:
                    part = _sound(shard, samples)[first - shard.first : last - shard.first]
                    images[first - rows.start : last - rows.start] = part
                    checksum.update(part.data)
            images.attrs["sha256"] = checksum.hexdigest()
            for name, values in labels.items():
                file.create_dataset(f"{split}_{name}", data=values[rows].astype(np.float32))
        file.attrs.update(
            identity=identity(spec, forward),
            dataset_spec=json.dumps(spec.model_dump()),
            forward_spec=json.dumps(forward.model_dump()),
            forward_hash=forward.hash,
            modes=json.dumps(spec.mode_set.pairs),
            label_unit=LABEL_UNIT,
            format_version=FORMAT_VERSION,
            stedalign_version=__version__,
        )
    shutil.rmtree(parts_folder(path), ignore_errors=True)


def _sound(shard: Shard, samples: int) -> Singles:
    images = shard.read(samples)
    if images is None:
        raise OSError(f"{shard.path} was damaged while the dataset was made: run the same command again")
    return images


def check_identity(path: Path, spec: DatasetSpec, forward: ForwardSpec) -> None:
    """Raise ``ValueError`` with one line unless the file ``path`` is the dataset that the specs describe.

    Descriptions are compared as this version reads them, not fingerprints, so that a dataset from before a new
    key stays good; what does not change the pictures, such as the laser's power, may differ.
    """
    attributes = read_attributes(path)
    advice = "choose another name or overwrite it"
    if attributes["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path} has the format {attributes['format_version']}, this version reads {FORMAT_VERSION}: {advice}"
        )
    try:
        held_spec = DatasetSpec.parse(json.loads(attributes["dataset_spec"]))
        held_forward = ForwardSpec.parse(json.loads(attributes["forward_spec"]))
    except SpecError as error:
        raise ValueError(f"{path} holds a dataset that this version does not know ({error}): {advice}") from error
    found = differences(
        {"dataset": held_spec.model_dump(), "forward": held_forward.picture},
        {"dataset": spec.model_dump(), "forward": forward.picture},
    )
    if found:
        raise ValueError(f"{path} holds another dataset ({found[0]}; asked for: {found[1]}): {advice}")


def check_optics(path: Path, forward: ForwardSpec, modes: ModeSet) -> None:
    """Raise ``ValueError`` with one line unless a dataset was made for this optics, sampling and mode set."""
    attributes = read_attributes(path)
    disagreement = optics_disagreement(
        json.loads(attributes["forward_spec"]),
        ModeSet.of(json.loads(attributes["modes"])),
        forward,
        modes,
    )
    if disagreement:
        raise ValueError(f"{path} was made {disagreement}")


def read_attributes(path: Path) -> dict[str, Any]:
    """What a dataset says about itself. Raises ``ValueError`` for a file that is no dataset."""
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as a dataset (HDF5): {error}") from None
    if "identity" not in attributes:
        raise ValueError(f"{path} is an HDF5 file, but no dataset of stedalign")
    return attributes


def read_split(path: Path, split: str) -> tuple[Singles, Singles]:
    """Images (n, 3, N, N) relative to the unaberrated crest and labels (n, modes) in peak waves of one split.

    Raises ``ValueError`` when they are missing or do not match the checksum that was written with them.
    """
    try:
        with h5py.File(path, "r") as file:
            images: Singles = file[f"{split}_img"][:]
            labels: Singles = file[f"{split}_labels"][:]
            recorded = file[f"{split}_img"].attrs["sha256"]
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} holds no {split} images that can be read: {error}") from error
    if _checksum(images) != recorded:
        raise ValueError(f"the {split} images in {path} are damaged (checksum): make the dataset again")
    return images, labels


def read_mask_offset(path: Path, split: str) -> Singles:
    """Where the mask lies on the pupil in the pictures of one split: (n, 2) along x and y, in pupil radii.

    Raises ``ValueError`` for a dataset in which the mask does not move.
    """
    try:
        with h5py.File(path, "r") as file:
            offsets: Singles = file[f"{split}_mask_offset"][:]
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} holds no mask offsets of its {split} images: {error}") from error
    return offsets


def _checksum(images: Singles) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
