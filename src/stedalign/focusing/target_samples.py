"""The few places at which the field is computed for a target, and the way to its pixels (``TargetSamples``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.focusing.bandlimited import interpolation, samples_needed, sampling_points
from stedalign.optics.objective import Objective
from stedalign.optics.resolution import bandwidth, warn_of_coarse_pixels
from stedalign.optics.targets import Line, Points, Target, lattice

Floats = NDArray[np.float64]
chebyshev = np.polynomial.chebyshev


class TargetSamples(torch.nn.Module):
    """Samples of one target.

    Where the target is a grid along x, y, z through the nominal focus, samples come in mirror images, and ``points``
    holds those of one octant alone.
    """

    def __init__(
        self,
        target: Target,
        objective: Objective,
        wavelength_nm: float,
        tolerance: float,
        pixel_errors: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> None:
        """``pixel_errors`` are the largest errors of the pixel size along x, y, z that will be asked for.

        Raises ``InputError`` where there are such and the target is no grid along x, y, z through the nominal focus.
        """
        super().__init__()
        lines = lines_through_the_focus(target)
        self.mirrored = lines is not None
        """Whether ``points`` stand for all their mirror images."""
        self.size = int(np.prod(target.shape))
        """Pixels of the target."""
        self.sides: list[int] = []
        """Pixels along each axis of the grid."""
        self.axes: list[int] = []
        """The mirrored axes (0 = x, 1 = y, 2 = z) in the order of the grid's."""
        self.pixel_axes: list[int] = []
        """Those of them that the target has pixels along."""
        self.counts: list[int] = []
        """Samples along each axis of the grid."""
        if any(pixel_errors) and lines is None:
            raise InputError("errors of the pixel size need targets along x, y, z through the nominal focus")
        if isinstance(target, Points):
            self.points = target.points_nm
            return
        placed = []
        for index, line in enumerate(lines if lines is not None else target.axes):
            highest = bandwidth(objective, line.direction, wavelength_nm)
            gap = np.diff(np.sort(line.positions_nm)).max(initial=0.0)
            warn_of_coarse_pixels(objective, line.direction, wavelength_nm, gap)
            error = 0.0
            if self.mirrored:
                self.axes.append(int(np.argmax(line.direction)))
                error = pixel_errors[self.axes[-1]]
            places, matrix = _sample(line, highest, tolerance, self.mirrored, error)
            placed.append((line.direction, places))
            self.counts.append(matrix.shape[-1])
            self.sides.append(len(line.positions_nm))
            self.register_buffer(f"interpolate{index}", torch.from_numpy(np.ascontiguousarray(matrix)))
        self.pixel_axes = list(self.axes)
        self.points = lattice(np.zeros(3) if self.mirrored else target.center_nm, placed)
        """Places (P, 3) in nm of the field."""

    @property
    def parities(self) -> list[tuple[int, int, int]]:
        """For x, y and z, whether the parts of the kernel are even (0) or odd (1); the last mirrored axis fastest."""
        parities = []
        for odd in product((0, 1), repeat=len(self.axes)):
            parity = [0, 0, 0]
            for axis, value in zip(self.axes, odd, strict=True):
                parity[axis] = value
            parities.append((parity[0], parity[1], parity[2]))
        return parities

    def pixel_count(self, binning: int = 1) -> int:
        """How many pixels there are when ``binning`` of them along each axis of the grid become one.

        Raises ``InputError`` where they do not come out even.
        """
        if binning != 1 and (not self.counts or any(side % binning for side in self.sides)):
            raise InputError(f"{' x '.join(map(str, self.sides)) or 'single'} pixels cannot be binned by {binning}")
        return self.size // binning ** len(self.sides)

    @property
    def terms(self) -> int:
        """Terms of the series in the errors of the pixel size, 0 where the target was built for none."""
        return max((len(matrix) for matrix in self._series if matrix.ndim == 3), default=0)

    def interpolations(
        self,
        errors: Mapping[int, Float[Tensor, "images terms"]],
        binning: int = 1,
        shears: Float[Tensor, "sheared 2"] | None = None,
    ) -> list[Float[Tensor, "_ _ _"]]:
        """For each axis of the grid the matrices (1 or B, pixels, samples) from samples to pixels.

        ``errors`` has for x (0), y (1) and z (2), where the target was built for errors of the pixel size along it, the
        polynomials (B, terms) in the error over its largest value, or their slopes for those of the matrices. A binned
        pixel is the mean of ``binning`` along each axis. No ``shears`` move these pixels.
        """
        interpolations = []
        for index, matrix in enumerate(self._series):
            if matrix.ndim == 3:
                terms = errors[self.axes[index]][:, : len(matrix)]
                matrix = (terms @ matrix.flatten(1)).unflatten(1, matrix.shape[1:])
            else:
                matrix = matrix[None]
            interpolations.append(matrix if binning == 1 else matrix.unflatten(1, (-1, binning)).mean(2))
        return interpolations

    def pixels(
        self,
        intensity: Float[Tensor, "rows mirrored samples"],
        matrices: Sequence[Float[Tensor, "_ _ _"]],
        out: Float[Tensor, "rows pixels"] | None = None,
    ) -> Float[Tensor, "rows pixels"]:
        """Intensity (R, pixels) from that at the samples, (R, mirror images, P); written to ``out`` where given.

        ``matrices`` are those of ``interpolations``; each image of theirs has as many rows of the R, one after the
        other.
        """
        count = len(self.counts)
        if count == 0:
            return intensity[:, 0] if out is None else out.copy_(intensity[:, 0])
        if self.mirrored:
            # From (signs, octant) to one axis of samples each.
            halves = [half // 2 for half in self.counts]
            signs = intensity.unflatten(2, halves).unflatten(1, [2] * count)
            intensity = signs.permute(0, *(axis + side * count for axis in range(1, count + 1) for side in (0, 1)))
        values, after = intensity, 1
        for index in range(count - 1, -1, -1):
            matrix, samples = matrices[index], self.counts[index]
            images, pixels = matrix.shape[:2]
            place = out if index == 0 else None
            if after == 1:
                place = None if place is None else place.view(images, -1, pixels)
                values = torch.matmul(values.reshape(images, -1, samples), matrix.mT, out=place)
            else:
                place = None if place is None else place.view(images, -1, pixels, after)
                values = torch.matmul(matrix[:, None], values.reshape(images, -1, samples, after), out=place)
            after *= pixels
        return values.reshape(len(intensity), -1)

    @property
    def _series(self) -> list[Tensor]:
        return [self.get_buffer(f"interpolate{index}") for index in range(len(self.counts))]


def lines_through_the_focus(target: Target) -> tuple[Line, ...] | None:
    """The axes of a grid along x, y, z that pass through the focus on both sides, as positive axes; else None."""
    if isinstance(target, Points):
        return None
    lines: list[Line] = []
    beside = target.center_nm.copy()
    for line in target.axes:
        axis = int(np.argmax(np.abs(line.direction)))
        direction = np.eye(3)[axis]
        sign = float(line.direction[axis])
        if not np.allclose(np.abs(line.direction), direction) or any(other.direction[axis] for other in lines):
            return None
        positions = target.center_nm[axis] + sign * line.positions_nm
        if positions.min() > 0 or positions.max() < 0:
            return None
        beside[axis] = 0
        lines.append(Line(direction, positions, line.width_nm))
    return None if beside.any() else tuple(lines)


def _sample(
    line: Line, bandwidth: float, tolerance: float, mirrored: bool, pixel_error: float = 0.0
) -> tuple[Floats, Floats]:
    """Places along a line and the matrix (positions, samples) from there; of mirrored ones only the positive places.

    Mirrored samples are ordered as (sign, place), the positive ones first. Where a line has few positions, they are
    the samples themselves. For pixel sizes up to ``pixel_error`` off, a Chebyshev series (terms, positions, samples) of
    the matrix in the error over its largest value.
    """
    positions = line.positions_nm
    middle = 0.0 if mirrored else (positions.min() + positions.max()) / 2
    half = (np.abs(positions - middle).max() + line.width_nm / 2) * (1 + pixel_error)
    count = samples_needed(bandwidth * half, tolerance) if half > 0 else 2
    direct = np.unique(np.abs(positions).round(9)) if mirrored else positions
    if line.width_nm == 0 and len(direct) * (2 if mirrored else 1) <= count and pixel_error == 0:
        if not mirrored:
            return positions, np.eye(len(positions))
        nearest = np.abs(np.abs(positions)[:, None] - direct).argmin(axis=1)
        matrix = np.zeros((len(positions), 2 * len(direct)))
        matrix[np.arange(len(positions)), nearest + np.where(positions < 0, len(direct), 0)] = 1
        return direct, matrix

    def stretched(error: float) -> Floats:
        scaled, width = (positions - middle) * (1 + error) / half, line.width_nm * (1 + error) / half
        return interpolation(bandwidth * half, count, scaled, width)

    matrix = stretched(0.0)
    if pixel_error:
        # An error moves the outermost pixel by some radians of the finest detail: so many terms are good to 1e-8.
        terms = 12 + math.ceil(bandwidth * half * pixel_error)
        node = chebyshev.chebpts1(terms)
        values = np.stack([stretched(pixel_error * place) for place in node])
        matrix = np.tensordot(np.linalg.inv(chebyshev.chebvander(node, terms - 1)), values, axes=1)
    places = sampling_points(bandwidth * half, count)[0] * half
    if not mirrored:
        return middle + places, matrix
    positive = np.arange(count // 2, count)
    return places[positive], matrix[..., np.concatenate([positive, count - 1 - positive])]
