"""Where the focus is wanted: sections, arbitrary planes and lines, volumes, or scattered points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stedalign.errors import InputError

Floats = NDArray[np.float64]

AXES = {"x": np.array([1.0, 0.0, 0.0]), "y": np.array([0.0, 1.0, 0.0]), "z": np.array([0.0, 0.0, 1.0])}


@dataclass(frozen=True, eq=False)
class Line:
    """One axis of a grid: samples at ``center + position x direction``."""

    direction: Floats
    """Unit vector (3,) along x, y, z."""
    positions_nm: Floats
    """Positions (N,) along it."""
    width_nm: float = 0.0
    """Length over which each sample averages: the pixel's size for a detector or a scan that integrates, 0 = none."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Samples on a line, a plane or a volume; the intensity comes in the order of the axes, the first one slowest.

    Raises ``InputError`` unless there are one to three axes of unit length, each with samples.
    """

    axes: tuple[Line, ...]
    center_nm: Floats

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= 3 or self.center_nm.shape != (3,):
            raise InputError("a grid has one to three axes and a center (x, y, z)")
        numbers = [self.center_nm, *(part for line in self.axes for part in (line.direction, line.positions_nm))]
        if not all(np.isfinite(part).all() for part in numbers):
            raise InputError("a grid's center, directions and positions must be finite numbers")
        for line in self.axes:
            if line.positions_nm.ndim != 1 or line.positions_nm.size == 0 or line.width_nm < 0:
                raise InputError("each axis of a grid needs samples, and a width that is not negative")
            if abs(np.linalg.norm(line.direction) - 1) > 1e-9:
                raise InputError("the direction of a grid's axis must have unit length")

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples along each axis."""
        return tuple(len(line.positions_nm) for line in self.axes)

    @property
    def points_nm(self) -> Floats:
        """All samples (P, 3) in nm."""
        return lattice(self.center_nm, [(line.direction, line.positions_nm) for line in self.axes])


@dataclass(frozen=True, eq=False)
class Points:
    """Scattered points (P, 3) in nm, none of which tells anything about the others. Raises ``InputError`` if empty."""

    points_nm: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.points_nm),)

    def __post_init__(self) -> None:
        shape = np.shape(self.points_nm)
        if len(shape) != 2 or shape[1] != 3 or shape[0] == 0 or not np.isfinite(self.points_nm).all():
            raise InputError(f"points need the shape (P, 3) and finite coordinates, got the shape {shape}")


Target = Grid | Points


def centered(samples: int, pixel_nm: float) -> Floats:
    """Positions (samples,) in nm of pixels whose middle, (samples - 1) / 2, is 0."""
    return (np.arange(float(samples)) - (samples - 1) / 2) * pixel_nm


def section(axes: str, samples: Sequence[int], pixel_nm: Sequence[float], *, integrate: bool = False) -> Grid:
    """A grid through the focus along some of x, y, z, named with the slowest first: "zx" is xz as [z, x].

    ``samples`` and ``pixel_nm`` follow the same order; ``integrate`` averages over each pixel. "zyx" is a volume.
    Raises ``InputError`` for axes that are not different letters of xyz.
    """
    if not axes or len(set(axes)) != len(axes) or not set(axes) <= set(AXES):
        raise InputError(f'the axes of a section are different letters of "xyz", got "{axes}"')
    lines = tuple(
        Line(AXES[name], centered(count, pixel), pixel if integrate else 0.0)
        for name, count, pixel in zip(axes, samples, pixel_nm, strict=True)
    )
    return Grid(lines, np.zeros(3))


def plane(
    rows: ArrayLike,
    columns: ArrayLike,
    samples: int,
    pixel_nm: float,
    *,
    center_nm: ArrayLike = (0.0, 0.0, 0.0),
    integrate: bool = False,
) -> Grid:
    """An arbitrary plane: pixel [i, j] lies at center + y_i x ``rows`` + x_j x ``columns`` (directions, any length)."""
    lines = []
    for given in (rows, columns):
        direction = np.asarray(given, dtype=float)
        if direction.shape != (3,) or not 0 < np.linalg.norm(direction) < np.inf:
            raise InputError(f"a plane's directions are vectors (x, y, z) other than zero, got {given}")
        direction = direction / np.linalg.norm(direction)
        lines.append(Line(direction, centered(samples, pixel_nm), pixel_nm if integrate else 0.0))
    return Grid(tuple(lines), np.asarray(center_nm, dtype=float))


def lattice(center_nm: Floats, axes: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Points (P, 3) at center + every combination of (direction, positions), the last axis fastest."""
    points = np.asarray(center_nm, dtype=float)
    for direction, positions in axes:
        points = points[..., None, :] + positions[:, None] * direction
    return points.reshape(-1, 3)
