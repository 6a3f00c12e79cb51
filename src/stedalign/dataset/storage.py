"""Datasets on disk: one HDF5 file with labels and images, or with labels and a view of the parts beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stedalign import __version__
from stedalign.dataset.parts import FORMAT_VERSION, Part, PartError, Singles, checksum, identity, new_file, parts_folder
from stedalign.dataset.spec import SPLITS, DatasetSpec, draw
from stedalign.errors import InputError
from stedalign.imaging.forward_spec import ForwardSpec, optics_disagreement
from stedalign.optics.wavefront import LABEL_UNIT, ModeSet
from stedalign.progress import SILENT, Progress
from stedalign.recorded import differences
from stedalign.spec import SpecError


def write(
    path: Path,
    parts: Sequence[Part],
    spec: DatasetSpec,
    forward: ForwardSpec,
    *,
    joined: bool,
    progress: Progress = SILENT,
) -> None:
    """Write the dataset ``path`` from all its parts, whole or not at all.

    The images are copied and the parts removed, or else, ``joined``, the parts stay and HDF5 shows them as one
    (a virtual dataset), found by their names relative to ``path``. Raises ``PartError`` unless each part is there as it
    was written.
    """
    samples, drawn = forward.sampling.samples, draw(spec)
    labels = {"labels": drawn.peak_waves}
    if spec.mask_offset:
        labels["mask_offset"] = drawn.mask_offset(forward.beam)
    stops = np.cumsum(spec.counts)
    slices = [slice(stop - count, stop) for stop, count in zip(stops.tolist(), spec.counts, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    done, title = 0, f"writing {path.name}"
    with new_file(path) as file:
        for split, rows in zip(SPLITS, slices, strict=True):
            name, shape = f"{split}_img", (rows.stop - rows.start, 3, samples, samples)
            target = h5py.VirtualLayout(shape, "f4") if joined else file.create_dataset(name, shape, "f4")
            digest = hashlib.sha256()
            for part in parts:
                first, last = max(part.first, rows.start), min(part.first + part.count, rows.stop)
                if first < last:
                    here, there = (slice(first - begin, last - begin) for begin in (rows.start, part.first))
                    images = _sound(part, samples)
                    target[here] = _view(part, images, path)[there] if joined else images[there]
                    digest.update(images[there].data)
                    done += last - first
                    progress(title, done, spec.samples)
            if joined:
                # What a program that is not ours reads where a part is gone must not look like an image.
                file.create_virtual_dataset(name, target, fillvalue=np.nan)
            file[name].attrs["sha256"] = digest.hexdigest()
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
    if not joined:
        shutil.rmtree(parts_folder(path), ignore_errors=True)


def _sound(part: Part, samples: int) -> Singles:
    try:
        return part.read(samples)
    except PartError as error:
        strangers = any(not file.name.startswith(part.identity) for file in part.folder.glob("[!.]*.h5"))
        hint = " (there are parts of another dataset: were they made with other options?)" if strangers else ""
        raise PartError(f"{error}; run the command that makes it{hint}") from None


def _view(part: Part, images: Singles, path: Path) -> Any:
    return h5py.VirtualSource(part.path.relative_to(path.parent).as_posix(), "img", images.shape, images.dtype)


def check_identity(path: Path, spec: DatasetSpec, forward: ForwardSpec) -> None:
    """Raise ``InputError`` with one line unless the file ``path`` is the dataset that the specs describe.

    Descriptions are compared as this version reads them, not fingerprints, so that a dataset from before a new
    key stays good; what does not change the images, such as the laser's power, may differ.
    """
    attributes = read_attributes(path)
    advice = "choose another name or overwrite it"
    if attributes["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{path} has the format {attributes['format_version']}, this version reads {FORMAT_VERSION}: {advice}"
        )
    try:
        held_spec = DatasetSpec.parse(json.loads(attributes["dataset_spec"]))
        held_forward = ForwardSpec.recorded(json.loads(attributes["forward_spec"]))
    except SpecError as error:
        raise InputError(f"{path} holds a dataset that this version does not know ({error}): {advice}") from error
    disagreement = differences(
        {"dataset": held_spec.model_dump(), "forward": held_forward.image},
        {"dataset": spec.model_dump(), "forward": forward.image},
    )
    if disagreement:
        raise InputError(f"{path} holds another dataset ({disagreement[0]}; asked for: {disagreement[1]}): {advice}")


def check_optics(path: Path, forward: ForwardSpec, modes: ModeSet | None = None) -> None:
    """Raise ``InputError`` with one line unless a dataset was made for this optics, sampling and mode set, if any."""
    attributes = read_attributes(path)
    disagreement = optics_disagreement(
        json.loads(attributes["forward_spec"]),
        ModeSet.of(json.loads(attributes["modes"])),
        forward,
        modes,
    )
    if disagreement:
        raise InputError(f"{path} was made {disagreement}")


def read_spec(path: Path) -> DatasetSpec:
    """What a dataset was asked to hold. Raises ``InputError`` where this version cannot tell."""
    return DatasetSpec.parse(json.loads(read_attributes(path)["dataset_spec"]), str(path))


def read_attributes(path: Path) -> dict[str, Any]:
    """What a dataset says about itself. Raises ``InputError`` for a file that is no dataset."""
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
    except OSError as error:
        raise InputError(f"{path} cannot be read as a dataset (HDF5): {error}") from None
    if "identity" not in attributes:
        raise InputError(f"{path} is an HDF5 file, but no dataset of stedalign")
    return attributes


def shown_parts(path: Path, splits: Sequence[str] = SPLITS) -> list[Path]:
    """The files whose images a joined dataset shows; none for a dataset that has its own."""
    with h5py.File(path, "r") as file:
        images = [file[f"{split}_img"] for split in splits]
        sources = [source for each in images if each.is_virtual for source in each.virtual_sources()]
    return [path.resolve().parent / source.file_name for source in sources]


def check_parts(path: Path, splits: Sequence[str] = SPLITS) -> None:
    """Raise ``InputError`` with one line where a joined dataset lacks a part.

    HDF5 itself reads such images without a word, or others from a file of that name in the working folder.
    """
    for part in shown_parts(path, splits):
        if not part.is_file():
            raise InputError(f"{path} shows the images in {part}, which is missing: bring it back or make it again")


def read_split(path: Path, split: str) -> tuple[Singles, Singles]:
    """Images (n, 3, N, N) relative to the unaberrated crest and labels (n, modes) in peak waves of one split.

    Raises ``InputError`` when they are missing or do not match the checksum that was written with them.
    """
    try:
        check_parts(path, [split])
        with h5py.File(path, "r") as file:
            images: Singles = file[f"{split}_img"][:]
            labels: Singles = file[f"{split}_labels"][:]
            recorded = file[f"{split}_img"].attrs["sha256"]
    except (OSError, KeyError) as error:
        raise InputError(f"{path} holds no {split} images that can be read: {error}") from error
    if checksum(images) != recorded:
        raise InputError(f"the {split} images in {path} are damaged (checksum): make the dataset again")
    return images, labels


def read_mask_offset(path: Path, split: str) -> Singles:
    """Where the mask lies on the pupil in the images of one split: (n, 2) along x and y, in pupil radii.

    Raises ``InputError`` for a dataset in which the mask does not move.
    """
    try:
        with h5py.File(path, "r") as file:
            offsets: Singles = file[f"{split}_mask_offset"][:]
    except (OSError, KeyError) as error:
        raise InputError(f"{path} holds no mask offsets of its {split} images: {error}") from error
    return offsets
