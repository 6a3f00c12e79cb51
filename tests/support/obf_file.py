"""Writing ``.obf`` files by the published description of the format (Imspector docs), also such that lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

TYPES = {"uint8": 0x1, "uint16": 0x4, "int16": 0x8, "float32": 0x40, "float64": 0x80, "complex64": 0x40000040}
METERS = struct.pack("<18id", 1, 1, *(0, 1) * 8, 1.0)
NO_UNIT = struct.pack("<18id", *(0, 1) * 9, 1.0)


@dataclass
class Stack:
    """One stack as it is written; what is not None takes the place of the truth."""

    data: np.ndarray
    labels: Sequence[str]
    """Of the axes, the slowest first."""
    pixel_nm: Sequence[float]
    name: str = ""
    tree: str = ""
    pieces: int = 1
    """In how many pieces the pixels are written, with other bytes between them."""
    shape: Sequence[int] | None = None
    packed: bytes | None = None
    samples_written: int | None = None
    name_length: int | None = None
    next_position: int | None = None
    flags: dict[str, int] = field(default_factory=dict)


def write_obf(path: Path, *stacks: Stack) -> Path:
    content = struct.pack("<10sIQIQ", b"OMAS_BF\n\xff\xff", 2, 38 if stacks else 0, 0, 34)
    content += struct.pack("<I", 0)
    for at, stack in enumerate(stacks):
        last = at == len(stacks) - 1
        size = len(content) + len(_stack(stack, len(content), 0))
        following = stack.next_position if stack.next_position is not None else 0 if last else size
        content += _stack(stack, len(content), following)
    path.write_bytes(content)
    return path


def _stack(stack: Stack, start: int, following: int) -> bytes:
    shape, rank = (stack.shape or stack.data.shape)[::-1], stack.data.ndim
    packed = zlib.compress(np.ascontiguousarray(stack.data).tobytes()) if stack.packed is None else stack.packed
    cuts = [len(packed) * each // stack.pieces for each in range(stack.pieces + 1)]
    written, chunks = b"", []
    for first, end in pairwise(cuts):
        if first:
            written += b"other pixels"
            chunks.append((first, len(written)))
        written += packed[first:end]
    lengths = [size * count * 1e-9 for size, count in zip(stack.pixel_nm[::-1], shape, strict=True)]
    name = stack.name.encode()
    head = struct.pack("<16sI", b"OMAS_BF_STACK\n\xff\xff", 6)
    head += struct.pack("<16I", rank, *shape, *(0,) * (15 - rank))
    head += struct.pack("<30d", *lengths, *(0.0,) * (15 - rank), *(0.0,) * 15)
    head += struct.pack("<5I", TYPES[stack.data.dtype.name], 1, 1, stack.name_length or len(name), 0)
    head += struct.pack("<3Q", 0, len(written), following) + name
    tags = b""
    if stack.tree:
        key, value = b"imspector", stack.tree.encode()
        tags = struct.pack("<I", len(key)) + key + struct.pack("<I", len(value)) + value
    tags += struct.pack("<I", 0)
    units = b"".join(METERS if axis < rank else NO_UNIT for axis in range(15))
    end = start + len(head) + len(written)
    footer = struct.pack("<31I", *(0,) * 15, *(0,) * 15, 0) + NO_UNIT + units
    footer += struct.pack("<2Q", stack.flags.get("flush_points", 0), 0) + struct.pack("<Q", len(tags))
    footer += struct.pack("<QI", end, 0) + struct.pack("<Q", end)
    footer += struct.pack("<2Q", stack.samples_written or 0, len(chunks))
    footer = struct.pack("<I", len(footer) + 4) + footer
    labels = b"".join(struct.pack("<I", len(text := label.encode())) + text for label in stack.labels[::-1])
    return head + written + footer + labels + tags + b"".join(struct.pack("<2Q", *chunk) for chunk in chunks)
