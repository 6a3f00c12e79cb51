"""What an image file tells, whatever its format."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.formats.facts import Facts
from stedalign.imaging.images import PLANES

MOST_PIXELS = 2**28
"""Pixels of one stack: as numbers of eight bytes they are 2 GiB."""
ANY_RATIO = 2**26
"""Bytes of an image that may be packed however tightly."""
MOST_RATIO = 500
"""How many times larger than packed others may be; dark recordings reach 120, zeros 1,000."""
UNTOLD = "Q"
"""The label of an axis of which a file does not tell what it is."""


class StackError(InputError):
    """A file that holds no usable image, with the reason."""


@dataclass(frozen=True, eq=False)
class ImageStack:
    """One stack of a file, whose pixels are not read yet."""

    axes: str
    """One letter for each axis: X, Y, Z, T (time), C (channels), S (colors of a pixel), and others for what is none of
    these; ``UNTOLD`` for what the file does not tell."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], NDArray[Any]]
    """Reads the pixels, of this shape. Raises ``StackError`` where they are damaged."""
    name: str = ""
    pixel_nm: Mapping[str, float] = field(default_factory=dict)
    """Pixel size along X, Y and Z, as far as the file tells."""
    channels: tuple[str, ...] = ()
    """Names along C; of a stack without that axis the name of the one channel that it is of."""
    simulated: bool = False
    """Whether the file says that its image was simulated."""
    scanned: bool = False
    """Whether X and Y are axes of the scan; else they are the columns and rows of a picture, whatever was scanned."""

    @property
    def is_sections(self) -> bool:
        """Whether its channels are the sections xy, xz and yz, as in the files that are written here."""
        return self.channels == PLANES

    def size_nm(self, axis: str) -> float:
        """Pixel size along "x", "y" or "z"; nan where the file does not tell."""
        return self.pixel_nm.get(axis.upper(), math.nan)


@dataclass(frozen=True, eq=False)
class Stored:
    """The content of an image file, as it was found."""

    stacks: Sequence[ImageStack]
    facts: Facts = field(default_factory=Facts)
    """What it tells of the microscope."""


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Make one ``StackError`` of what a damaged file may end in, which is any exception; a failing disk stays one."""
    try:
        yield
    except (OSError, MemoryError, StackError):
        raise
    except Exception as error:
        raise StackError(f"{path}: not a readable {kind} ({' '.join(str(error).split())[:150]})") from error


def check_limits(path: Path, stack: ImageStack) -> None:
    """Raise ``StackError`` for pixels that are no counts, or too many, before any is read."""
    if stack.dtype.kind not in "uif":
        raise StackError(f"{path}: real numbers are expected, got {stack.dtype}")
    if (pixels := math.prod(stack.shape)) > MOST_PIXELS:
        raise StackError(
            f"{path}: {pixels:.3g} pixels {in_words(stack.shape)}, at most {MOST_PIXELS} (2^28) are read; "
            "crop the image around its bead"
        )


def check_packing(unpacked: int, packed: int) -> None:
    """Raise ``InputError`` where a large image unpacks to more times its size than any recording, which has noise."""
    if unpacked > ANY_RATIO and unpacked > MOST_RATIO * packed:
        raise InputError(f"{packed} bytes would unpack to {unpacked}, which no recording does")


def in_words(shape: tuple[int, ...]) -> str:
    """A shape as people write it: 25 x 256 x 256."""
    return " x ".join(map(str, shape))
