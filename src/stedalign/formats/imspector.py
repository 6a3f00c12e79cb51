"""``.msr`` and ``.obf`` of Imspector, by the library obffile: stacks by name, axes by label, lengths from meters."""

from __future__ import annotations

import io
import math
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.formats.facts import Facts
from stedalign.formats.imspector_tree import facts_of_tree
from stedalign.formats.stored import UNTOLD, ImageStack, StackError, Stored, check_limits, check_packing, readable
from stedalign.formats.xml_tree import parsed_xml

SUFFIXES = (".msr", ".obf")
KIND = "Imspector file"
CONFIGURATION = re.compile(r"(?:ExpControl )?(?P<channel>.*?) ?\{\d+\}")
"""The name of a stack: detector channel and number of the configuration, as in "ExpControl Ch1 {13}"."""
LONGEST_READ = 2**26
MOST_READS = 2**18
"""Pieces that the descriptions in a file are read in."""
PACKED_ROOM = 2**16
"""Bytes by which compressed pixels may be longer than the pixels."""
TREE_START, TREE_END = ("<root".encode("utf-16-le"), "</root>".encode("utf-16-le"))
"""A document without stacks begins with its parameters as text of two bytes a letter."""


def read(path: Path) -> Stored:
    """The stacks in a file, and what its parameters tell of the microscope.

    Raises ``StackError`` where it is damaged or the library is missing, ``OSError`` where the file cannot be read.
    """
    with readable(path, KIND), _opened(path) as (library, file):
        stacks = list(_walked(library, file))
        trees = (stack.footer.tag_dictionary.get("imspector") for stack in stacks)
        text = next(filter(None, trees), None) or _tree_of_document(path)
        facts = facts_of_tree(parsed_xml(text)) if text else Facts()
        return Stored([_stack(path, at, stack) for at, stack in enumerate(stacks)], facts)


class _Sparing(io.BufferedReader):
    """A file that takes no request for more than a description can hold, nor for endlessly many of them."""

    left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if size is None or not 0 <= size <= LONGEST_READ or self.left < 0:
            raise InputError("its lengths cannot be true")
        return super().read(size)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[ModuleType, Any]]:
    """The library and a file that it has opened."""
    try:
        import obffile
    except ImportError as error:
        raise StackError(
            f'{path}: a file of Imspector, which needs an extra: pip install "stedalign[imspector]"'
        ) from error
    with _Sparing(io.FileIO(path)) as handle, obffile.ObfFile(handle, squeeze=False) as file:
        yield obffile, file


def _walked(library: ModuleType, file: Any) -> Iterator[Any]:
    """All stacks; obffile's own list leaves out those whose name occurs again, and does not end on a circle."""
    seen: set[int] = set()
    position = file.header.first_stack_pos
    while position:
        if position in seen:
            raise InputError("its stacks go round in a circle")
        seen.add(position)
        file.filehandle.seek(position)
        stack = library.ObfStack(file.filehandle, squeeze=False)
        yield stack
        position = stack.header.next_stack_pos


def _stack(path: Path, at: int, stack: Any) -> ImageStack:
    header, footer = stack.header, stack.footer
    letters = [_letter(label) for label in footer.labels] + [UNTOLD] * (header.rank - len(footer.labels))
    twice = {letter for letter in letters if letters.count(letter) > 1}
    letters = [UNTOLD if letter in twice else letter for letter in letters]
    units = [str(unit) for unit in footer.si_dimensions] or ["m"] * header.rank
    pixel_nm = {
        # Some lengths come from single precision: 19.9999995 nm were 20.
        letter: float(f"{1e9 * length / count:.6g}") if length and count and unit == "m" else math.nan
        for letter, length, count, unit in zip(letters, header.lengths, header.res, units, strict=False)
    }
    channel = CONFIGURATION.fullmatch(stack.name)
    return ImageStack(
        axes="".join(letters[::-1]) + "S" * (len(stack.shape) - header.rank),
        shape=stack.shape,
        dtype=stack.dtype,
        read=partial(_pixels, path, at),
        name=stack.name,
        pixel_nm={axis: size for axis, size in pixel_nm.items() if axis in "XYZ"},
        channels=(channel["channel"],) if channel else (),
        scanned=True,
    )


def _letter(label: str) -> str:
    """The axis that a label such as "ExpControl Z" names."""
    last = (label.split() or [""])[-1].upper()
    return last if last in ("X", "Y", "Z", "T") else UNTOLD


def _pixels(path: Path, at: int) -> NDArray[Any]:
    with readable(path, KIND), _opened(path) as (library, file):
        stack = list(_walked(library, file))[at]
        check_limits(path, _stack(path, at, stack))
        wanted = stack.nbytes
        written = stack.footer.samples_written or stack.size
        if written < stack.size:
            raise InputError(f"only {written} of its {stack.size} pixels were written: the scan was stopped")
        packed = _packed(path, _pieces(stack), wanted)
        check_packing(wanted, len(packed))
        data = zlib.decompressobj().decompress(packed, wanted + 1) if stack.header.compression_type == 1 else packed
        if len(data) != wanted:
            raise InputError(f"its pixels are {'more' if len(data) > wanted else 'fewer'} than its size says")
        return np.frombuffer(data, stack.dtype).reshape(stack.shape)


def _pieces(stack: Any) -> list[tuple[int, int]]:
    """Where the pixels of a stack lie in the file, as (offset, bytes): stacks of one scan are written in turns."""
    header, footer = stack.header, stack.footer
    if not footer.num_chunk_positions:
        return [(header.data_pos, header.data_length)]
    starts = [(0, 0), *footer.chunk_positions]
    end = footer.stack_end_used_disk or header.data_pos + header.data_length
    stops = [before for before, _ in starts[1:]] + [starts[-1][0] + end - header.data_pos - starts[-1][1]]
    return [(header.data_pos + offset, stop - before) for (before, offset), stop in zip(starts, stops, strict=True)]


def _packed(path: Path, pieces: list[tuple[int, int]], wanted: int) -> bytes:
    """The pieces of a file, one after the other. Raises ``InputError`` where they cannot be ``wanted`` bytes packed."""
    lengths = [length for _, length in pieces]
    if min(lengths) < 0 or sum(lengths) > wanted + wanted // 100 + PACKED_ROOM:
        raise InputError("the lengths of its pixels cannot be true")
    with path.open("rb") as file:
        parts = []
        for offset, length in pieces:
            file.seek(offset)
            parts.append(file.read(length))
        return b"".join(parts)


def _tree_of_document(path: Path) -> str:
    """The parameters that a document begins with; empty where there are none."""
    with path.open("rb") as file:
        content = file.read(min(LONGEST_READ, os.fstat(file.fileno()).st_size))
    start = content.find(TREE_START)
    end = content.find(TREE_END, start)
    return content[start : end + len(TREE_END)].decode("utf-16-le", "replace") if 0 <= start < end else ""
