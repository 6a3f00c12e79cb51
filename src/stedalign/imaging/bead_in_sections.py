"""The bead in sections: what lies around it, where they show far more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from stedalign.errors import InputError
from stedalign.imaging.bead_in_volume import FIELD_NM, brightest_bead
from stedalign.imaging.flaws import find_flaws
from stedalign.imaging.images import AXES_OF, LEAST_PIXELS, OrthoSections, Plane, Sections

Sides = dict[str, tuple[slice, slice]]
"""Rows and columns of sections by name."""
PIXEL_MULTIPLE = 8
"""Pixels along each side come in multiples of this, so that the estimator can add up 2, 4 or 8 of them."""
FEW_PIXELS = 64
"""Sides of at most so many pixels stay as they are: little is gained by adding up theirs."""


def around_bead_in(sections: Mapping[str, Plane]) -> dict[str, Plane]:
    """The part of each section, "xy", "xz" or "yz", evenly around the bead, ``FIELD_NM`` at most along each axis.

    The sections share their middle, before and after. Along an axis on which none of them is longer it stays where it
    is. Raises ``InputError`` for two beads about as bright, for one close to an edge, and for what are no sections.
    """
    Sections.of(sections)
    return cut(sections, sides_around_bead(sections))


def sides_around_bead(sections: Mapping[str, Plane], field_nm: Mapping[str, float] = FIELD_NM) -> Sides:
    """Which rows and columns of each section ``around_bead_in`` keeps, of a field of that size."""
    long = {
        axis
        for name, plane in sections.items()
        for axis, count, pixel in zip(AXES_OF[name], plane.data.shape, plane.pixel_nm, strict=True)
        if count > _whole(field_nm[axis] / pixel)
    }
    middle = {axis: place if axis in long else 0.0 for axis, place in (_bead_nm(sections) if long else {}).items()}
    kept: Sides = {}
    for name, plane in sections.items():
        rows, columns = [
            _side(count, middle.get(axis, 0.0) / pixel, _whole(field_nm[axis] / pixel))
            for axis, count, pixel in zip(AXES_OF[name], plane.data.shape, plane.pixel_nm, strict=True)
        ]
        if min(side.stop - side.start for side in (rows, columns)) < LEAST_PIXELS:
            raise InputError(f"the bead is too close to the end of the {name} section; image it nearer the middle")
        kept[name] = rows, columns
    return kept


def square_around_bead(image: OrthoSections) -> OrthoSections:
    """The same of three square sections, which stay so: as large as their longest axis asks for."""
    pixels = dict(zip("xyz", image.pixel_nm, strict=True))
    sections = {
        name: Plane(part, (pixels[AXES_OF[name][0]], pixels[AXES_OF[name][1]]))
        for name, part in zip(image.view.parts, image.data, strict=True)
    }
    most = max(FIELD_NM[axis] / pixel for axis, pixel in pixels.items())
    kept = cut(sections, sides_around_bead(sections, {axis: most * pixel for axis, pixel in pixels.items()}))
    least = min(min(plane.data.shape) for plane in kept.values())
    return replace(image, data=np.stack([_inner(plane, least).data for plane in kept.values()]))


def cut(sections: Mapping[str, Plane], sides: Sides) -> dict[str, Plane]:
    """Those rows and columns of each section."""
    return {name: plane._replace(data=plane.data[sides[name]]) for name, plane in sections.items()}


def _whole(pixels: float) -> int:
    """As many whole ones, where rounding may have taken a little of the last."""
    return int(pixels + 1e-9)


def _side(count: int, middle_px: float, most: int) -> slice:
    """Which of ``count`` pixels lie evenly around a place ``middle_px`` from their middle."""
    kept = min(count - 2 * int(np.ceil(abs(middle_px))), most)
    if kept > FEW_PIXELS:
        kept -= kept % PIXEL_MULTIPLE
    start = round((count - kept) / 2 + middle_px)
    return slice(start, start + kept)


def _inner(plane: Plane, side: int) -> Plane:
    """The square in the middle of a section."""
    rows, columns = ((count - side) // 2 for count in plane.data.shape)
    return plane._replace(data=plane.data[rows : rows + side, columns : columns + side])


def _bead_nm(sections: Mapping[str, Plane]) -> dict[str, float]:
    """How far the bead lies from the middle along each axis: where its center of mass does in all that show it."""
    places: dict[str, list[float]] = {}
    for name, plane in sections.items():
        # A hot pixel or a junk line is no bead.
        clean = find_flaws(Sections.of({name: plane})).filled[0]
        signal = np.clip(clean - np.quantile(clean, 0.1), 0, None)
        if not signal.any():
            raise InputError(f"the {name} section is empty: every pixel has the same value")
        bead = brightest_bead(signal, AXES_OF[name], plane.pixel_nm, what=f"{name} section")
        for side, (axis, pixel) in enumerate(zip(AXES_OF[name], plane.pixel_nm, strict=True)):
            along = bead.sum(axis=1 - side)
            center = float(along @ np.arange(len(along)) / along.sum())
            places.setdefault(axis, []).append((center - (len(along) - 1) / 2) * pixel)
    return {axis: float(np.mean(each)) for axis, each in places.items()}
