"""Which image of a file is taken, and which of its axes are space: by their labels, never by their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedalign.formats.stored import ImageStack, StackError, check_limits, in_words
from stedalign.imaging.images import PLANES

SECTIONS = "sections"
"""Instead of ``axes``: the planes of the file are the sections xy, xz and yz."""
SPACE = "ZYX"
LABELS = SPACE + "TCS"
SHOWN = 4
"""Candidates that a message lists."""
WHAT = {"T": "frames (T)", "C": "channels (C)", "S": "colors (S)"}


@dataclass(frozen=True)
class Selection:
    """What to take of a file that holds more than one image; whatever it holds once needs no word.

    Numbers count from 0, as ``stedalign inspect`` shows them.
    """

    stack: str | None = None
    """Name of a stack."""
    series: int | None = None
    """Number of a stack."""
    channel: int | str | None = None
    """Number or name of a channel, or of a color."""
    frame: int | None = None
    """Number of a frame in time."""
    axes: str | None = None
    """What the axes are, where the file does not tell or tells it wrongly: one letter of X, Y, Z, T, C, S for each axis
    longer than 1, or "sections"."""

    def __post_init__(self) -> None:
        if self.axes is None or self.axes == SECTIONS:
            return
        letters = self.axes.upper()
        if not letters or set(letters) - set(LABELS) or len(set(letters)) < len(letters):
            raise StackError(
                f'axes = {self.axes!r}: different letters of {", ".join(LABELS)} are expected, or "{SECTIONS}"'
            )
        object.__setattr__(self, "axes", letters)


EVERYTHING = Selection()
"""For files with one image."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """What was taken: the pixels along axes of space alone, or three sections."""

    data: NDArray[Any]
    axes: str
    """Of "xyz" in the order of ``data``; ``SECTIONS`` for three sections (xy, xz, yz)."""
    stack: ImageStack


def selected(path: Path, stacks: Sequence[ImageStack], choice: Selection) -> list[ImageStack]:
    """The stacks that ``choice`` leaves. Raises ``StackError`` where there is none."""
    if not stacks:
        raise StackError(f"{path}: the file holds no image stack")
    kept = list(stacks)
    if choice.series is not None:
        if not 0 <= choice.series < len(stacks):
            raise StackError(f"{path}: there is no stack {choice.series}; {listed(stacks)}")
        kept = [stacks[choice.series]]
    if choice.stack is not None:
        kept = [stack for stack in kept if stack.name == choice.stack]
    named = [stack for stack in kept if _of_channel(stack, choice.channel)]
    # A number counts along an axis; a name can also be that of the channel that a whole stack is of.
    if isinstance(choice.channel, str) and "C" not in "".join(map(long_axes, kept)):
        kept = named
    if not kept:
        asked = " and ".join(repr(word) for word in (choice.stack, choice.channel) if word is not None)
        raise StackError(f"{path}: there is no stack {asked}; {listed(stacks)}")
    return kept


def listed(stacks: Sequence[ImageStack]) -> str:
    """The stacks of a file, in a few words."""
    words = [f'{at} "{stack.name}" {long_axes(stack)} {in_words(long_shape(stack))}' for at, stack in enumerate(stacks)]
    more = [f"{len(words) - SHOWN} more, which 'stedalign inspect' lists"] if len(words) > SHOWN else []
    return f"the file holds {', '.join(words[:SHOWN] + more)}"


def pixels_of(path: Path, stack: ImageStack, choice: Selection) -> Pixels:
    """Read one stack, the frame and the channel that were chosen.

    Raises ``StackError`` where more than one could be meant, or the file does not tell what its axes are.
    """
    check_limits(path, stack)
    axes = _axes(path, stack, choice)
    is_sections = choice.axes == SECTIONS or (choice.axes is None and stack.is_sections and axes == "CYX")
    if is_sections and choice.channel is not None:
        raise StackError(f"{path}: its channels are the sections xy, xz and yz, which belong together")
    taken = _taken(path, stack, axes.replace("C", "") if is_sections else axes, choice)
    data = stack.read().reshape(long_shape(stack))
    data = data[tuple(taken.get(axis, slice(None)) for axis in axes)]
    if is_sections:
        return Pixels(data, SECTIONS, stack)
    left = "".join(axis for axis in axes if axis not in taken)
    order = sorted(range(len(left)), key=lambda at: SPACE.find(left[at]))
    return Pixels(np.transpose(data, order), "".join(left[at] for at in order).lower(), stack)


def space_of(stack: ImageStack) -> str:
    """The axes of space of a stack that has no others, "yx" for example; empty for one that has."""
    axes = long_axes(stack)
    return "".join(axis for axis in SPACE if axis in axes).lower() if set(axes) <= set(SPACE) else ""


def long_axes(stack: ImageStack) -> str:
    """The axes along which a stack has more than one pixel."""
    return "".join(axis for axis, size in zip(stack.axes, stack.shape, strict=True) if size != 1)


def long_shape(stack: ImageStack) -> tuple[int, ...]:
    """How many it has along these."""
    return tuple(size for size in stack.shape if size != 1)


def _axes(path: Path, stack: ImageStack, choice: Selection) -> str:
    """A label for each axis that is longer than 1. Raises ``StackError`` where one has none."""
    shape, axes = long_shape(stack), long_axes(stack)
    if choice.axes == SECTIONS:
        if len(shape) != 3 or shape[0] != len(PLANES):
            raise StackError(f"{path}: three sections xy, xz, yz are expected, got the shape {stack.shape}")
        return "CYX"
    if choice.axes is not None:
        if len(choice.axes) != len(shape):
            raise StackError(f"{path}: the axes {choice.axes} do not fit the shape {stack.shape}")
        return choice.axes
    if len(shape) > 1 and not set(axes) <= set(LABELS):
        raise StackError(
            f"{path}: the file does not tell what its axes are, {in_words(shape)}: say it with --axes, "
            f"such as --axes ZYX for planes along z, or --axes {SECTIONS} for xy, xz and yz"
        )
    return axes


def _taken(path: Path, stack: ImageStack, axes: str, choice: Selection) -> dict[str, int]:
    """Which index is taken along each axis that is not space. Raises ``StackError`` where that is not told."""
    sizes = dict(zip(long_axes(stack) if choice.axes is None else axes, long_shape(stack), strict=False))
    taken = {axis: _index(path, axis, sizes[axis], choice.frame, ()) for axis in "T" if axis in axes}
    taken |= {axis: _index(path, axis, sizes[axis], choice.channel, stack.channels) for axis in "CS" if axis in axes}
    if choice.frame and "T" not in axes:
        raise StackError(f"{path}: there is no frame {choice.frame}: the image has no axis of time")
    if choice.channel and not {"C", "S"} & set(axes) and choice.channel not in stack.channels:
        raise StackError(f"{path}: there is no channel {choice.channel}: the image has one")
    return taken


def _index(path: Path, axis: str, size: int, wanted: int | str | None, names: Sequence[str]) -> int:
    """Which of ``size`` frames or channels is wanted. Raises ``StackError`` where none is, or it is not there."""
    if isinstance(wanted, str):
        wanted = names.index(wanted) if names.count(wanted) == 1 else -1
    if wanted is not None and 0 <= wanted < size:
        return wanted
    shown = [f'{at} "{name}"' for at, name in enumerate(names) if name][:SHOWN]
    there = f"{size} {WHAT[axis]}{': ' if shown else ''}{', '.join(shown)}"
    option = "--frame" if axis == "T" else "--channel"
    more = "; where they are planes along z, say it with --axes" if axis == "T" else ""
    if axis != "T" and size == len(PLANES):
        more = f"; where they are xy, xz and yz, by --axes {SECTIONS}"
    raise StackError(f"{path}: choose one of {there} by {option} 0 to {size - 1}{more}")


def _of_channel(stack: ImageStack, channel: int | str | None) -> bool:
    return not isinstance(channel, str) or channel in stack.channels
