"""NumPy's ``.npy``: an array, and nothing about its axes and pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.formats.stored import UNTOLD, ImageStack, Stored, readable
from stedalign.imaging.images import PLANES

SUFFIXES = (".npy",)


def read(path: Path) -> Stored:
    """The array in a file: a section (Y, X), three sections (3, N, N) or a volume (Z, Y, X), by its shape.

    Raises ``StackError`` where there is none, ``OSError`` where the file cannot be read.
    """
    with readable(path, ".npy file"), path.open("rb") as file:
        shape, _, dtype = _header(file)
        left = path.stat().st_size - file.tell()
        if min(shape, default=0) < 0:
            raise InputError(f"its header tells the shape {shape}")
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize > left:
            raise InputError(f"its header promises {math.prod(shape):.3g} values, and {left} bytes follow")
    kept = tuple(size for size in shape if size != 1)
    sections = len(kept) == 3 and kept[0] == len(PLANES)
    last = {2: "YX", 3: "CYX" if sections else "ZYX"}.get(len(kept), UNTOLD * len(kept))
    axes = iter(last)
    labels = "".join(UNTOLD if size == 1 else next(axes) for size in shape)
    names = PLANES if sections else ()
    return Stored([ImageStack(labels, shape, dtype, lambda: _array(path), channels=names)])


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of the array in an open file, which stands behind them then."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise InputError(f"version {version} of the format is not known")
    return readers[version](file)


def _array(path: Path) -> NDArray[Any]:
    # Not np.load: it also takes archives and pickles for .npy files.
    with readable(path, ".npy file"), path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
