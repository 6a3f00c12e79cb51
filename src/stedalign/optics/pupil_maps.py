"""Maps over the pupil that a user brings as files: a phase mask, or a state of polarization for every place.

The map is a square whose outer edges touch the pupil's; row 0 lies at the smallest y. Between its samples it is
interpolated by cubic convolution (torch's, with a = -0.75 in Keys 1981).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from stedalign.errors import InputError
from stedalign.files import check_plain
from stedalign.optics.arrays import Array

LEAST_SAMPLES, MOST_SAMPLES = 8, 4096
MOST_BYTES = 2**30
"""Of a file: the largest map has half of it."""


def fingerprint(path: str) -> str:
    """SHA-256 of a file; raises ``InputError`` where it cannot be read."""
    check_plain(path, MOST_BYTES)
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read the map {path!r}: {error.strerror}") from None


def with_fingerprint(data: Any) -> Any:
    """The plain data of a description with the fingerprint of its file, where it names one and has none yet."""
    if isinstance(data, dict) and data.get("file") and not data.get("sha256"):
        return data | {"sha256": fingerprint(str(data["file"]))}
    return data


@lru_cache(maxsize=8)
def phase_map(path: str, sha256: str, levels_per_2pi: float) -> Tensor:
    """Cosine and sine (2, N, N) of a phase mask: radians from .npy, gray levels from an image.

    Raises ``InputError`` for a file that is no square map, or not the one with this fingerprint.
    """
    _check(path, sha256)
    if path.endswith(".npy"):
        values = _load(path)
    else:
        try:
            with Image.open(path) as image:
                if max(image.size) > MOST_SAMPLES:
                    raise InputError(f"the map {path!r} is larger than {MOST_SAMPLES} pixels a side")
                # Pillow clips what it converts from more than 8 bits.
                gray = image if image.mode.startswith(("L", "I", "F")) and image.mode != "LA" else image.convert("L")
                values = np.asarray(gray, dtype=float) * (2 * np.pi / levels_per_2pi)
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
            raise InputError(f"{path!r} is neither an image nor an .npy array") from None
    if np.iscomplexobj(values):
        raise InputError(f"the phase mask {path!r} must hold real numbers, in radians")
    phase = torch.from_numpy(_square(values, path, ()))
    return torch.stack([phase.cos(), phase.sin()])


@lru_cache(maxsize=8)
def jones_map(path: str, sha256: str) -> Tensor:
    """Real and imaginary parts (4, N, N) of Ex and Ey from an .npy array (2, N, N); mean intensity in the pupil 1.

    Raises ``InputError`` as ``phase_map``, and where there is no light.
    """
    _check(path, sha256)
    field = _square(_load(path), path, (2,)).astype(complex)
    axis = (np.arange(field.shape[-1]) + 0.5) / field.shape[-1] * 2 - 1
    inside = axis[:, None] ** 2 + axis**2 <= 1
    mean = (np.abs(field[:, inside]) ** 2).sum(axis=0).mean()
    if mean == 0:
        raise InputError(f"the polarization map {path!r} leaves the pupil dark")
    field = field / np.sqrt(mean)
    return torch.from_numpy(np.stack([field[0].real, field[0].imag, field[1].real, field[1].imag]))


def interpolate(values: Tensor, x: Array, y: Array) -> list[Array]:
    """A map's channels (C, N, N) at points of the square from -1 to 1, each of x's shape; the edge is kept beyond."""
    as_tensor = torch.as_tensor(x), torch.as_tensor(y)
    points = torch.stack(torch.broadcast_tensors(*as_tensor), dim=-1)
    sampled = torch.nn.functional.grid_sample(
        values.to(points)[None],
        points.reshape(1, 1, -1, 2),
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    channels = sampled.reshape(len(values), *points.shape[:-1])
    return [channel if isinstance(x, Tensor) else channel.numpy() for channel in channels]


def _check(path: str, sha256: str) -> None:
    if fingerprint(path) != sha256:
        raise InputError(f"the map {path!r} is not the one that this setup was made with: its content has changed")


def _load(path: str) -> NDArray[np.generic]:
    try:
        # Mapped, no more is read than the file has, whatever its header promises.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path!r} is no .npy array of numbers") from None


def _square(values: NDArray[np.generic], path: str, leading: tuple[int, ...]) -> NDArray[np.generic]:
    size = values.shape[-1] if values.ndim else 0
    shape = ", ".join(map(str, (*leading, "N", "N")))
    if values.shape != (*leading, size, size) or not LEAST_SAMPLES <= size <= MOST_SAMPLES:
        raise InputError(
            f"the map {path!r} has the shape {values.shape}; "
            f"({shape}) with N from {LEAST_SAMPLES} to {MOST_SAMPLES} is expected"
        )
    if values.dtype.kind not in "uifc" or not np.isfinite(values).all():
        raise InputError(f"the map {path!r} holds values that are not finite numbers")
    return values if values.dtype.kind == "c" else values.astype(float)
