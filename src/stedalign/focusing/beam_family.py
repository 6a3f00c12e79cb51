"""Beams on one grid of plane waves: one (``project_components``), or some that differ from image to image in mask,
light and polarization (``BeamFamily``).

What a displaced mask is on the grid has to be integrated from its core outwards, but it changes smoothly with the
displacement: a short series in it says the same a hundred times faster, with its slopes. The light's envelope is smooth
over the pupil and multiplies the waves of the grid as aberrations do; the polarization's leak adds a second beam.
Where the light along x and that along y have masks and tilts of their own each is a beam by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from stedalign.focusing.chebyshev import polynomials, slopes
from stedalign.focusing.field_kernels import times_i
from stedalign.focusing.pupil_quadrature import HALVES, Half, component_strengths, plane_waves
from stedalign.focusing.wave_grid import WaveGrid
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import (
    BEAM_PARAMETERS,
    FILL_CENTERS,
    HALVES_OFFSETS,
    HALVES_TILTS,
    LEAKS,
    MASK_OFFSETS,
    TAPER,
    nominal,
)

MASKED = *MASK_OFFSETS, *HALVES_OFFSETS, *HALVES_TILTS
"""What changes the waves before light and leak do."""
Nodes = tuple[int, int]
chebyshev = np.polynomial.chebyshev


class BeamFamily(torch.nn.Module):
    """Amplitudes of a beam on a grid of plane waves, for values of some of ``parameters.BEAM_PARAMETERS``."""

    x: Tensor
    y: Tensor
    fall: Tensor
    orders: Tensor
    series: Tensor

    def __init__(
        self,
        objective: Objective,
        beam: Beam,
        grid: WaveGrid,
        rule: Nodes,
        ranges: Mapping[str, float],
        degree: int,
    ) -> None:
        """``ranges`` names the parameters, in their order, with their largest deviation from the beam's own value.

        Beams are integrated with ``rule``. Beyond its range the series in the mask's offset, of total ``degree``, fails
        soon; the others have none.
        """
        super().__init__()
        self.names, self.beam = tuple(ranges), beam
        sizes = [sum(ranges.get(name, 0.0) for name in both) for both in zip(MASK_OFFSETS, HALVES_OFFSETS, strict=True)]
        self.reach = [size or 1.0 for size in sizes]
        degrees = [degree if size else 0 for size in sizes]
        orders = _lattice([np.arange(count + 1) for count in degrees])
        orders = orders[orders.sum(axis=1) <= degree]
        self.register_buffer("orders", torch.from_numpy(orders))
        self.terms = 1 + int(orders.max())

        places = _lattice([chebyshev.chebpts1(count + 1) for count in degrees])
        moves = dict(zip(MASK_OFFSETS, torch.from_numpy((places * sizes).T), strict=True))
        basis = np.stack([_chebyshev(places[:, 0], i) * _chebyshev(places[:, 1], j) for i, j in orders], axis=1)
        # At these nodes the polynomials are orthogonal.
        fit = torch.from_numpy(basis.T / np.square(basis).sum(axis=0)[:, None])
        self.halved = any(name in ranges for name in (*HALVES_OFFSETS, *HALVES_TILTS))
        series = []
        for half in HALVES if self.halved else (None,):
            parts = [project_components(objective, beam, grid, rule, moves, half)]
            if any(name in ranges for name in LEAKS):
                # A leak of 1 has both polarizations, equally strong.
                one = {LEAKS[0]: torch.ones(len(places), dtype=torch.float64)}
                parts.append(2**0.5 * project_components(objective, beam, grid, rule, moves | one, half) - parts[0])
            values = torch.view_as_real(torch.stack(parts, dim=1)).movedim(-1, 2)
            series.append(torch.tensordot(fit, values, dims=1))
        self.register_buffer("series", torch.stack(series))

        x, y = grid.pupil_points
        self.register_buffer("x", torch.from_numpy(x))
        self.register_buffer("y", torch.from_numpy(y))
        center_x, center_y = beam.fill_center
        self.register_buffer("fall", torch.from_numpy(beam.taper * ((x - center_x) ** 2 + (y - center_y) ** 2)))

    def forward(self, values: Float[Tensor, "beams {len(self.names)}"]) -> Float[Tensor, "beams 2 rows waves"]:
        """Real and imaginary parts (B, 2, rows, J) of the amplitudes for parameters (B, names).

        The rows are those of ``project_components``.
        """
        given = self._given(values)
        return self._lit(self._masked(given), given, self._light(given, *self._seen(given)))[:, 0]

    def with_slopes(self, values: Float[Tensor, "beams names"]) -> Float[Tensor, "beams names+1 2 rows waves"]:
        """The same, and after them their derivatives: (B, 1 + names, 2, rows, J)."""
        given = self._given(values)
        x, y = self._seen(given)
        light = self._light(given, x, y)
        changing = [name for name in MASKED if name in self.names]
        masked = self._masked(given, changing)
        waves, *changed = self._lit(masked, given, light).unbind(1)
        along = dict(zip(changing, changed, strict=True))
        if masked.shape[2] == 2:
            kept = self._kept(given)
            other = masked[:, 0, 1] * (kept * light)[:, None, None]
            for name, leaked in zip(LEAKS, (other, times_i(other)), strict=True):
                along[name] = leaked - (kept**2 * given[name][:, None])[:, None, None] * waves
        along[TAPER] = -(x**2 + y**2)[:, None, None] * waves
        for name, place in zip(FILL_CENTERS, (x, y), strict=True):
            along[name] = (2 * given[TAPER][:, None] * place)[:, None, None] * waves
        return torch.stack([waves, *(along[name] for name in self.names)], dim=1)

    def _given(self, values: Tensor) -> dict[str, Tensor]:
        """The value (B,) of each parameter of a beam, nominal where it is none of these."""
        given = dict(zip(self.names, values.unbind(1), strict=True))
        for name in BEAM_PARAMETERS:
            given.setdefault(name, torch.full_like(values[:, 0], nominal(self.beam, name)))
        return given

    def _masked(self, given: Mapping[str, Tensor], along: Sequence[str] = ()) -> Tensor:
        """Amplitudes behind the mask, and after them their slopes ``along`` some of ``MASKED``.

        (B, 1 + along, polarizations, 2, rows, J)
        """
        if not self.halved:
            return self._half(given, 0, 0.0, [MASK_OFFSETS.index(name) for name in along])
        axes = [axis for axis in (0, 1) if MASK_OFFSETS[axis] in along or HALVES_OFFSETS[axis] in along]
        parts = []
        for index, side in enumerate(HALVES.values()):
            tilt_x, tilt_y = (given[name][:, None] for name in HALVES_TILTS)
            phase = 2 * np.pi * side * (tilt_x * self.x + tilt_y * self.y)[:, None, None, None, None]
            part = self._half(given, index, side, axes)
            parts.append(part * phase.cos() + times_i(part) * phase.sin())
        total, difference = parts[0] + parts[1], parts[0] - parts[1]
        rows = [total[:, 0]]
        for name in along:
            if name in HALVES_TILTS:
                place = (self.x, self.y)[HALVES_TILTS.index(name)]
                rows.append(times_i(difference[:, 0]) * (2 * np.pi * place))
            else:
                both, offsets = (total, MASK_OFFSETS) if name in MASK_OFFSETS else (difference, HALVES_OFFSETS)
                rows.append(both[:, 1 + axes.index(offsets.index(name))])
        return torch.stack(rows, dim=1)

    def _half(self, given: Mapping[str, Tensor], index: int, side: float, axes: Sequence[int]) -> Tensor:
        """Amplitudes behind the mask of that series, and their slopes along the mask's place on some of x and y.

        (B, 1 + axes, polarizations, 2, rows, J); the light has ``side`` of the halves' offset.
        """
        places = [
            (given[name] + side * given[further] - nominal(self.beam, name)) / reach
            for name, further, reach in zip(MASK_OFFSETS, HALVES_OFFSETS, self.reach, strict=True)
        ]
        series = polynomials(torch.stack(places, dim=1), self.terms)
        x, y = (series[:, axis, self.orders[:, axis]] for axis in (0, 1))
        terms = [x * y]
        if axes:
            tilts = slopes(series)
        for axis in axes:
            tilt = tilts[:, axis, self.orders[:, axis]] / self.reach[axis]
            terms.append(tilt * (x, y)[1 - axis])
        # In one product, for the series is too long for the cache.
        return (torch.stack(terms, dim=1) @ self.series[index].flatten(1)).unflatten(2, self.series.shape[2:])

    def _lit(self, masked: Tensor, given: Mapping[str, Tensor], light: Tensor) -> Tensor:
        """The sum (B, ..., 2, rows, J) of polarizations (B, ..., polarizations, 2, rows, J), in the light (B, J)."""
        if masked.shape[2] == 1:
            return masked[:, :, 0] * light[:, None, None, None]
        real, imaginary = (given[name][:, None, None, None, None] for name in LEAKS)
        main, other = masked.unbind(2)
        return (main + real * other + imaginary * times_i(other)) * (self._kept(given) * light)[:, None, None, None]

    def _kept(self, given: Mapping[str, Tensor]) -> Tensor:
        """What the beam's own polarization keeps of the amplitude, (B, 1)."""
        return torch.rsqrt(1 + given[LEAKS[0]] ** 2 + given[LEAKS[1]] ** 2)[:, None]

    def _seen(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Places x, y (B, J) in the pupil as seen from the middle of the light."""
        x, y = (place - given[name][:, None] for name, place in zip(FILL_CENTERS, (self.x, self.y), strict=True))
        return x, y

    def _light(self, given: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """How much stronger (B, J) the light is than that of the beam as it is."""
        return torch.exp(self.fall - (x**2 + y**2) * given[TAPER][:, None])


def project_components(
    objective: Objective,
    beam: Beam,
    grid: WaveGrid,
    rule: Nodes,
    deviations: Mapping[str, Float[Tensor, " beams"]] | None = None,
    half: Half | None = None,
) -> Complex[Tensor, "beams rows waves"]:
    """Amplitudes (B, 3 x components, J) on a grid of a beam's components, each with its part of the power.

    ``deviations`` holds (B,) deviations of some of ``parameters.BEAM_PARAMETERS`` from each component's own values,
    since masks of one panel move together; without it B is 1. Beams are integrated with ``rule``. With ``half`` of the
    light along x or y alone.
    """
    rows = []
    for part, strength in zip(beam.components, component_strengths(objective, beam, *rule), strict=True):
        changes = {name: nominal(part, name) + deviation for name, deviation in (deviations or {}).items()}
        rows.append(strength * grid.project(plane_waves(objective, part, *rule, changes, half)))
    return torch.cat(rows, dim=1)


def _lattice(axes: Sequence[np.ndarray]) -> np.ndarray:
    """All combinations (P, axes) of the places along each axis."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _chebyshev(place: np.ndarray, order: int) -> np.ndarray:
    return np.asarray(np.cos(order * np.arccos(np.clip(place, -1, 1))))
