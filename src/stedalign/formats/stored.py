"""What an image file tells, whatever its format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.imaging.images import PixelSize

UNKNOWN: PixelSize = (math.nan, math.nan, math.nan)


class StackError(InputError):
    """A file that holds no usable image, with the reason."""


@dataclass(frozen=True, eq=False)
class Stored:
    """The content of an image file, as it was found."""

    data: NDArray[Any]
    """(..., Z, Y, X), of which axes of one sample may be left out."""
    pixel_nm: PixelSize = UNKNOWN
    """Pixel size along x, y, z; nan where the file does not tell."""
    simulated: bool = False
    """Whether the file says that its image was simulated."""
