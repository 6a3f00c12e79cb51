"""Pixels that say nothing of the light: junk lines at an image's edges, bad lines within it, hot and dead pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage

from stedalign.imaging.images import Image, Sections

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

OUTSTANDING = 4.0
"""How many times farther a bad line is from its neighbors than any other line is."""
MOST_JUNK, MOST_BAD_LINES = 8, 3
"""Lines at each edge, and within each part along each axis, that may be flawed."""
LINES_OF_JUNK, LINES_OF_BAD = 8, 16
"""Lines of a part for each of them: in a small field a focus, too, has steps that stand alone."""
HOT = 4.0
"""How far a flawed pixel lies from all around it, over the range of these, or the usual one where that is more."""
MOST_HOT = 24
"""Single pixels of a part that may be flawed: what is more than that is light."""


@dataclass(frozen=True, eq=False)
class Flaws:
    """The flawed pixels of an image."""

    weight: Float[Floats, " parts *pixels"]
    """1 for a pixel as it should be, 0 for a flawed one, (parts, ...)."""
    filled: Float[Floats, " parts *pixels"]
    """The counts, those of flawed pixels taken from their neighbors, (parts, ...)."""
    messages: tuple[str, ...]
    """What was found, in words."""


def find_flaws(image: Image) -> Flaws:
    """Which pixels of an image say nothing of the light.

    A line is flawed where it lies several times farther from its neighbors, in the median over its pixels, than any
    other line of the part does: no focus has such a step along a whole line. A single pixel is flawed that far from
    all pixels around it.
    """
    parts, weights, messages = [], [], []
    for name, part in zip(image.view.parts, image.counts, strict=True):
        imaged = _imaged(image, name)
        good = np.zeros(part.shape, dtype=bool)
        good[imaged] = True
        if part.ndim == 2:
            for axis, kind in enumerate(("row", "column")):
                for line, count in _bad_lines(part[imaged], axis):
                    at = (imaged[axis].start or 0) + line
                    good[(slice(None),) * axis + (slice(at, at + count),)] = False
                    messages.append(_left_out(name, kind, line, count))
        filled = _filled(part, good)
        hot = _hot_pixels(filled) & good
        if hot.any():
            messages.append(f"{name}: {int(hot.sum())} hot or dead pixels are left out")
            good &= ~hot
            filled = _filled(part, good)
        parts.append(filled)
        weights.append(good.astype(np.float64))
    return Flaws(np.stack(weights), np.stack(parts), tuple(messages))


def _imaged(image: Image, name: str) -> tuple[slice, ...]:
    """Where a part of an image was imaged."""
    if not (isinstance(image, Sections) and image.margins):
        return (slice(None),) * len(image.view.shape)
    margin = image.margins[image.parts.index(name)]
    return tuple(slice(beside, count - beside) for beside, count in zip(margin, image.view.shape, strict=True))


def _left_out(name: str, kind: str, line: int, count: int) -> str:
    where = f"{kind} {line}" if count == 1 else f"{kind}s {line} to {line + count - 1}"
    return f"{name}: {where} {'is' if count == 1 else 'are'} left out"


def _bad_lines(part: Floats, axis: int) -> Sequence[tuple[int, int]]:
    """First line and number of lines that do not belong to the image, along one axis."""
    lines = np.moveaxis(part, axis, 0)
    edge = min(MOST_JUNK, len(lines) // LINES_OF_JUNK)
    away = np.zeros(len(lines))
    away[1:-1] = np.median(np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2), axis=1)
    # The line beside junk lies far from it.
    away[: edge + 1] = away[len(lines) - edge - 1 :] = 0
    bad = _outstanding(away, min(MOST_BAD_LINES, len(lines) // LINES_OF_BAD))
    steps = np.median(np.abs(np.diff(lines, axis=0)), axis=1)
    for line in bad:
        steps[line - 1 : line + 1] = 0
    first, last = _junk(steps, edge), _junk(steps[::-1], edge)
    at_edges = [(0, first)] * (first > 0) + [(len(lines) - last, last)] * (last > 0)
    return at_edges + [(line, 1) for line in bad]


def _outstanding(away: Floats, most: int) -> list[int]:
    """The lines, ``most`` at most, that are farther ``away`` (lines,) from their neighbors than all others are."""
    farthest: list[int] = []
    outstanding = 0
    rest = away.copy()
    for count in range(1, most + 1):
        line = int(rest.argmax())
        farthest.append(line)
        # Its neighbors are half as far from theirs, for it is one of them.
        rest[max(0, line - 1) : line + 2] = 0
        if away[line] > OUTSTANDING * rest.max() > 0:
            outstanding = count
    return farthest[:outstanding]


def _junk(steps: Floats, edge: int) -> int:
    """How many lines at the beginning, ``edge`` at most, lie before a step that no line takes behind it.

    ``steps`` (lines - 1,) are those from each line to the next; those at the other edge are not looked at.
    """
    for line in reversed(range(edge)):
        if steps[line] > OUTSTANDING * steps[line + 1 : len(steps) - edge].max() > 0:
            return line + 1
    return 0


def _filled(part: Floats, good: Bools) -> Floats:
    """The part with the value of the nearest good pixel in the place of each flawed one."""
    if good.all():
        return part
    nearest = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
    return np.asarray(part[tuple(nearest)])


def _hot_pixels(part: Floats) -> Bools:
    """Pixels far from all around them."""
    around = np.ones((3,) * part.ndim, dtype=bool)
    around[(1,) * part.ndim] = False
    highest, lowest = (
        filter_of(part, footprint=around, mode="mirror")
        for filter_of in (ndimage.maximum_filter, ndimage.minimum_filter)
    )
    scatter = highest - lowest
    usual = np.median(scatter[scatter > 0]) if (scatter > 0).any() else np.inf
    # Of a hot pixel's neighbors none is hot, for it lies around them.
    hot = np.maximum(part - highest, lowest - part) > HOT * np.maximum(scatter, usual)
    return np.asarray(hot if hot.sum() <= MOST_HOT else np.zeros_like(hot))
