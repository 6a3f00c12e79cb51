"""Samples of a target whose scan leans: along z the pixels move along x and y, too (``ShearedSamples``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.focusing.bandlimited import interpolation, samples_needed, sampling_points
from stedalign.focusing.chebyshev import polynomials, slopes
from stedalign.focusing.target_samples import TargetSamples, lines_through_the_focus
from stedalign.optics.objective import Objective
from stedalign.optics.resolution import bandwidth, warn_of_coarse_pixels
from stedalign.optics.targets import Grid, Line, Target, lattice

Floats = NDArray[np.float64]
chebyshev = np.polynomial.chebyshev

Z = 2
LATERAL = 1, 0
"""y and x, in the order of the samples after z."""
TERMS = 8
"""Of the series in a displacement, beyond those that its size takes: good to 1e-6."""


class ShearedSamples(TargetSamples):
    """Samples of a grid along z and then y, x or both, whose pixels lie at (x - s_x z, y - s_y z, z) for shears s.

    The z is what the setup says of a row. A section leaves its plane, so it is sampled as a slab, as thick as the
    largest shears take it: the intensity is band-limited across it as well as along. Each row has matrices of its own,
    from Chebyshev series in its displacement.
    """

    rows: Tensor

    def __init__(
        self,
        target: Grid,
        objective: Objective,
        wavelength_nm: float,
        tolerance: float,
        pixel_errors: Sequence[float],
        shears: Sequence[float],
    ) -> None:
        """As for ``TargetSamples``; ``shears`` are the largest ones along x and y.

        Raises ``InputError`` where the target is no such grid through the nominal focus.
        """
        lines = lines_through_the_focus(target)
        axes = [int(np.argmax(line.direction)) for line in lines or ()]
        if lines is None or axes != sorted(axes, reverse=True) or axes[0] != Z:
            raise InputError("a shear needs targets along z, then y, then x, through the nominal focus")
        super().__init__(Grid(lines[:1], np.zeros(3)), objective, wavelength_nm, tolerance, pixel_errors)
        rows = lines[0].positions_nm
        self.register_buffer("rows", torch.from_numpy(rows / np.abs(rows).max()))
        self.size = int(np.prod(target.shape))
        by_axis = dict(zip(axes, lines, strict=True))
        placed = [(lines[0].direction, self.points[:, Z])]
        for axis in LATERAL:
            line, error = by_axis.get(axis), pixel_errors[axis]
            if line is None:
                line, error = Line(np.eye(3)[axis], np.zeros(1)), 0.0
            else:
                gap = np.diff(np.sort(line.positions_nm)).max(initial=0.0)
                warn_of_coarse_pixels(objective, line.direction, wavelength_nm, gap)
                self.sides.append(len(line.positions_nm))
                self.pixel_axes.append(axis)
            highest = bandwidth(objective, line.direction, wavelength_nm)
            places, series = _series(line, highest, tolerance, error, float(shears[axis] * np.abs(rows).max()))
            placed.append((line.direction, places))
            self.axes.append(axis)
            self.counts.append(series.shape[-1])
            self.register_buffer(f"lateral{axis}", torch.from_numpy(np.ascontiguousarray(series)))
        self.points = lattice(np.zeros(3), placed)

    @property
    def terms(self) -> int:
        return max(super().terms, *(len(self.get_buffer(f"lateral{axis}")) for axis in LATERAL))

    def interpolations(
        self,
        errors: Mapping[int, Float[Tensor, "images terms"]],
        binning: int = 1,
        shears: Float[Tensor, "sheared 2"] | None = None,
        along: int | None = None,
    ) -> list[Float[Tensor, "..."]]:
        """The matrix along z (1 or B, rows, samples), those along y and x (B, rows, pixels, samples), and the binning.

        ``shears`` (B, 2) are those along x and y over their largest values, 0 without them. With ``along`` x (0) or y
        (1) that axis's matrix is its derivative by the shear, so scaled.
        """
        shears = self.rows.new_zeros(1, 2) if shears is None else shears
        matrices = super().interpolations(errors)
        for axis in LATERAL:
            series = self.get_buffer(f"lateral{axis}")
            terms = errors[axis][:, : len(series)] if len(series) > 1 else torch.ones_like(shears[:1, :1])
            of_images = (terms @ series.flatten(1)).unflatten(1, series.shape[1:])
            place = -shears[:, axis, None] * self.rows
            moved = polynomials(place, series.shape[1])
            if along == axis:
                moved = slopes(moved) * -self.rows[:, None]
            # Slopes of matrices in an error come after the matrices, for all images.
            moved = moved.repeat(max(1, len(of_images) // len(moved)), 1, 1)
            if series.shape[2] > 1 and binning > 1:
                of_images = of_images.unflatten(2, (-1, binning)).mean(3)
            matrices.append(torch.einsum("bzt,btps->bzps", *_alike(moved, of_images)))
        count = len(self.rows)
        added = torch.eye(count).to(self.rows).unflatten(0, (-1, binning)).mean(1)
        return [*matrices, added[None]]

    def pixels(
        self,
        intensity: Float[Tensor, "rows mirrored samples"],
        matrices: Sequence[Float[Tensor, "..."]],
        out: Float[Tensor, "rows pixels"] | None = None,
    ) -> Float[Tensor, "rows pixels"]:
        z, y, x, added = matrices
        images = max(len(matrix) for matrix in matrices)
        signs = intensity.unflatten(2, [half // 2 for half in self.counts]).unflatten(1, [2] * 3)
        values = signs.permute(0, 1, 4, 2, 5, 3, 6).reshape(images, -1, *self.counts)
        values = torch.einsum("bzs,bnsyx->bnzyx", *_alike(z, values))
        values = torch.einsum("bzps,bnzsx->bnzpx", *_alike(y, values))
        values = torch.einsum("bzps,bnzys->bnzyp", *_alike(x, values))
        if len(added[0]) < len(self.rows):
            values = torch.einsum("rz,bnzyx->bnryx", added[0], values)
        values = values.reshape(len(intensity), -1)
        return values if out is None else out.copy_(values)

    @property
    def _series(self) -> list[Tensor]:
        """That along z alone."""
        return [self.get_buffer("interpolate0")]


def samples_of(
    target: Target,
    objective: Objective,
    wavelength_nm: float,
    tolerance: float,
    pixel_errors: Sequence[float],
    shears: Sequence[float],
) -> TargetSamples:
    """The samples of a target, sheared ones where ``shears``, the largest along x and y, move its pixels.

    Raises ``InputError`` where they do and the target is no grid along x, y, z through the nominal focus.
    """
    lines = lines_through_the_focus(target)
    if not any(shears) or (lines is not None and not any(line.direction[Z] for line in lines)):
        return TargetSamples(target, objective, wavelength_nm, tolerance, pixel_errors)
    if not isinstance(target, Grid):
        raise InputError("a shear needs targets along z, then y, then x, through the nominal focus")
    return ShearedSamples(target, objective, wavelength_nm, tolerance, pixel_errors, shears)


def _alike(matrix: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both for as many images, where one is for all."""
    count = max(len(matrix), len(other))
    return matrix.expand(count, *matrix.shape[1:]), other.expand(count, *other.shape[1:])


def _series(
    line: Line, bandwidth: float, tolerance: float, pixel_error: float, farthest_nm: float
) -> tuple[Floats, Floats]:
    """The positive places of samples along a line, and the matrix from all of them to its positions.

    As a Chebyshev series (terms, displacements, positions, samples) in the error of the pixel size, up to
    ``pixel_error``, and in a displacement of all positions by up to ``farthest_nm``, both over their largest values.
    """
    positions = line.positions_nm
    half = (np.abs(positions).max() + line.width_nm / 2) * (1 + pixel_error) + farthest_nm
    half = half or 1.0
    count = samples_needed(bandwidth * half, tolerance)
    terms = 12 + math.ceil(bandwidth * half * pixel_error) if pixel_error else 1
    moves = TERMS + math.ceil(1.5 * bandwidth * farthest_nm) if farthest_nm else 1
    errors, places = chebyshev.chebpts1(terms) * pixel_error, chebyshev.chebpts1(moves) * farthest_nm
    values = [
        [
            interpolation(
                bandwidth * half, count, (positions * (1 + error) + place) / half, line.width_nm * (1 + error) / half
            )
            for place in places
        ]
        for error in errors
    ]
    fits = [np.linalg.inv(chebyshev.chebvander(chebyshev.chebpts1(size), size - 1)) for size in (terms, moves)]
    series = np.einsum("te,mp,epij->tmij", *fits, values)
    positive = np.arange(count // 2, count)
    at = sampling_points(bandwidth * half, count)[0] * half
    return at[positive], series[..., np.concatenate([positive, count - 1 - positive])]
