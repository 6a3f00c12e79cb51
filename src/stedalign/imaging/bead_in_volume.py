"""The bead in a volume: what lies around it, and the three sections through it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage

from stedalign.errors import InputError
from stedalign.imaging.images import VOLUME, OrthoSections, PixelSize, Volume, cut_sections

Floats = NDArray[np.float64]
Voxel = tuple[int, int, int]
LARGEST_GAP_NM = {"x": 300.0, "y": 300.0, "z": 900.0}
"""Bright pieces with a gap of at most this along an axis belong to one focus, which is longer than wide."""
FIELD_NM = {"x": 2400.0, "y": 2400.0, "z": 3200.0}
"""What is looked at around a bead: two widths of a donut to either side, and two depths. More takes longer to plan."""
SMOOTHED_NM = 40.0
"""Standard deviation over which noise is averaged to find a bead: far less than any focus is wide."""
VOXEL_MULTIPLE = 4
"""Planes, rows and columns come in multiples of this, so that pixels can be added up."""
MOST_VOXELS = 128
"""Voxels along each axis, as far as memory and patience go."""


def sections_through_bead(volume: Volume, samples: int | None = None) -> tuple[OrthoSections, Voxel]:
    """The largest square sections around the brightest bead that fit, ``samples`` at most, and their middle (z, y, x).

    Their number of samples is odd: the planes then cross in the voxel that is the middle of each, as the forward
    model assumes. With an even number they cross half a pixel beside it. Raises ``InputError`` for a volume without a
    bead, with two, or with one too close to its end.
    """
    center, room = _bead(volume)
    fitting = min(*(2 * space + 1 for space in room), samples or 2 * min(room) + 1)
    fitting -= 1 - fitting % 2
    _check_room(fitting, center, volume)
    planes = cut_sections(volume.data, center, fitting)
    return OrthoSections(planes, volume.pixel_nm, saturation=volume.saturation, simulated=volume.simulated), center


def around_bead(volume: Volume) -> Volume:
    """The part of a volume that lies evenly around its brightest bead, ``FIELD_NM`` along each axis at most.

    Nor is it more than ``MOST_VOXELS`` there. Raises ``InputError`` as ``sections_through_bead`` does.
    """
    center, room = _bead(volume)
    limits = [
        min(2 * space, MOST_VOXELS, int(FIELD_NM[axis] / pixel)) // VOXEL_MULTIPLE * VOXEL_MULTIPLE
        for axis, space, pixel in zip("zyx", room, volume.pixel_nm[::-1], strict=True)
    ]
    _check_room(min(limits) + 1, center, volume)
    box = tuple(slice(at - count // 2, at - count // 2 + count) for at, count in zip(center, limits, strict=True))
    return Volume(volume.data[box], volume.pixel_nm, saturation=volume.saturation, simulated=volume.simulated)


def volume_planes(
    counts: Float[Floats, "z y x"], pixel_nm: PixelSize, place_nm: Sequence[float]
) -> dict[str, Float[Floats, "_ _"]]:
    """The planes "xy", "xz" and "yz" of ``counts`` (Z, Y, X) nearest to a place (x, y, z) counted from their middle."""
    last = np.array(counts.shape[::-1]) - 1
    x, y, z = np.rint(last / 2 + np.array(place_nm) / pixel_nm).clip(0, last).astype(int)
    return {"xy": counts[z], "xz": counts[:, y], "yz": counts[:, :, x]}


def _bead(volume: Volume) -> tuple[Voxel, list[int]]:
    """The voxel (z, y, x) in the middle of the brightest bead, and how many lie between it and the nearer end."""
    signal = np.clip(volume.data - np.quantile(volume.data, 0.1), 0, None)
    if not signal.any():
        raise InputError("the volume is empty: every voxel has the same value")
    signal = brightest_bead(signal, "zyx", volume.pixel_nm[::-1], what=VOLUME)
    z, y, x = (
        round(float((signal.sum(axis=tuple({0, 1, 2} - {axis})) * np.arange(size)).sum() / signal.sum()))
        for axis, size in enumerate(signal.shape)
    )
    return (z, y, x), [min(at, size - 1 - at) for at, size in zip((z, y, x), signal.shape, strict=True)]


def _check_room(samples: int, center: Voxel, volume: Volume) -> None:
    if samples < 9:
        raise InputError(
            f"the bead at voxel (z, y, x) = {center} is too close to the end of the volume {volume.data.shape} "
            "for sections of 9 pixels; image it nearer the middle"
        )


def brightest_bead(
    signal: Float[Floats, "*shape"], axes: str, pixel_nm: Sequence[float], *, what: str
) -> Float[Floats, "*shape"]:
    """The bright parts of the brightest bead in ``signal``, whose ``axes`` have these pixels, zero elsewhere.

    Raises ``InputError`` where another bead has more than half of its light.
    """
    smooth = ndimage.gaussian_filter(signal, [max(1.0, SMOOTHED_NM / pixel) for pixel in pixel_nm])
    smooth[smooth < 0.3 * smooth.max()] = 0
    # Grown by half the gap to either side, the pieces of a donut touch.
    reach = [2 * round(LARGEST_GAP_NM[axis] / 2 / pixel) + 1 for axis, pixel in zip(axes, pixel_nm, strict=True)]
    grown = ndimage.maximum_filter(smooth > 0, size=reach, mode="constant")
    labels, count = ndimage.label(grown)
    light = ndimage.sum_labels(smooth, labels, np.arange(1, count + 1))
    first, second = (*np.sort(light)[::-1], 0.0)[:2]
    if second > 0.5 * first:
        raise InputError(f"two beads: crop the {what} to one")
    smooth[labels != 1 + light.argmax()] = 0
    return smooth
