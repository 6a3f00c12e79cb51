"""What a file of images holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stedalign.errors import check_type
from stedalign.formats.selection import long_axes, long_shape
from stedalign.formats.stack import stored
from stedalign.formats.stored import ImageStack, Stored


@dataclass(frozen=True, eq=False)
class Inspection:
    """The stacks in a file and what it tells of the microscope."""

    file: Path
    content: Stored

    def to_json(self) -> dict[str, Any]:
        stacks = [{"number": at, **_as_json(stack)} for at, stack in enumerate(self.content.stacks)]
        return {"file": str(self.file), "stacks": stacks, "facts": self.content.facts.to_json()}


def inspect(file: Path | str) -> Inspection:
    """What a file holds, without reading a pixel. Raises ``StackError`` where it is no image file, or damaged."""
    check_type("sa.inspect", file, str, os.PathLike)
    return Inspection(Path(file), stored(Path(file)))


def _as_json(stack: ImageStack) -> dict[str, Any]:
    return {
        "name": stack.name,
        "axes": long_axes(stack),
        "shape": long_shape(stack),
        "dtype": str(stack.dtype),
        "pixel_nm": {axis.lower(): size for axis, size in stack.pixel_nm.items()},
        "channels": [name for name in stack.channels if name],
        "simulated": stack.simulated,
    }
