"""A beam whose mask, light and polarization differ from image to image, written on one grid of plane waves.

What a displaced mask is on the grid has to be integrated from its core outwards, but it changes smoothly with the
displacement: a short series in it says the same a hundred times faster, with its slopes. The light's envelope is smooth
over the pupil and multiplies the waves of the grid as aberrations do; the polarization's leak adds a second beam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stedalign.focusing.chebyshev import polynomials, slopes
from stedalign.focusing.field_kernels import times_i
from stedalign.focusing.pupil_quadrature import beam_parameter, plane_waves
from stedalign.focusing.wave_grid import WaveGrid
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective

Nodes = tuple[int, int]
OFFSETS = "mask_offset_x", "mask_offset_y"
LEAKS = "leak_real", "leak_imaginary"
CENTERS = "fill_center_x", "fill_center_y"
chebyshev = np.polynomial.chebyshev


class BeamFamily(torch.nn.Module):
    """Amplitudes of a beam on a grid of plane waves for values of some of ``pupil.BEAM_PARAMETERS``."""

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
        self.names = tuple(ranges)
        self.beam = beam
        middle, half = (
            [beam_parameter(beam, name) for name in OFFSETS],
            [ranges.get(name, 0.0) for name in OFFSETS],
        )
        self.middle, self.reach = middle, [size or 1.0 for size in half]
        degrees = [degree if size else 0 for size in half]
        nodes = [chebyshev.chebpts1(count + 1) for count in degrees]
        places = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 2)
        orders = np.stack(np.meshgrid(*map(np.arange, np.add(degrees, 1)), indexing="ij"), axis=-1).reshape(-1, 2)
        orders = orders[orders.sum(axis=1) <= degree]
        self.register_buffer("orders", torch.from_numpy(orders))
        self.terms = 1 + int(orders.max())

        along = {
            name: torch.from_numpy(center + size * place)
            for name, center, size, place in zip(OFFSETS, middle, half, places.T, strict=True)
        }
        parts = [grid.project(plane_waves(objective, beam, *rule, along))]
        if any(name in ranges for name in LEAKS):
            # A leak of 1 has both polarizations, equally strong.
            one = {LEAKS[0]: torch.ones(len(places), dtype=torch.float64)}
            parts.append(2**0.5 * grid.project(plane_waves(objective, beam, *rule, along | one)) - parts[0])
        values = torch.view_as_real(torch.stack(parts, dim=1)).movedim(-1, 2)
        basis = np.stack([_chebyshev(places[:, 0], i) * _chebyshev(places[:, 1], j) for i, j in orders], axis=1)
        # At these nodes the polynomials are orthogonal.
        fit = torch.from_numpy(basis.T / np.square(basis).sum(axis=0)[:, None])
        self.register_buffer("series", torch.tensordot(fit, values, dims=1))
        x, y = grid.pupil_points
        self.register_buffer("x", torch.from_numpy(x))
        self.register_buffer("y", torch.from_numpy(y))
        center_x, center_y = beam.fill_center
        self.register_buffer("fall", torch.from_numpy(beam.taper * ((x - center_x) ** 2 + (y - center_y) ** 2)))

    def forward(self, values: Tensor) -> Tensor:
        """Real and imaginary parts (B, 2, 3, J) of the amplitudes for parameters (B, names)."""
        given = self._given(values)
        return self._lit(self._masked(given), given, self._light(given, *self._seen(given)))[:, 0]

    def with_slopes(self, values: Tensor) -> Tensor:
        """The same, and after them their derivatives: (B, 1 + names, 2, 3, J)."""
        given = self._given(values)
        x, y = self._seen(given)
        light = self._light(given, x, y)
        offsets = [name for name in OFFSETS if name in self.names]
        masked = self._masked(given, offsets)
        waves, *moved = self._lit(masked, given, light).unbind(1)
        found = dict(zip(offsets, moved, strict=True))
        if masked.shape[2] == 2:
            own = self._own(given)
            other = masked[:, 0, 1] * (own * light)[:, None, None]
            for name, leaked in zip(LEAKS, (other, times_i(other)), strict=True):
                found[name] = leaked - (own**2 * given[name][:, None])[:, None, None] * waves
        found["taper"] = -(x**2 + y**2)[:, None, None] * waves
        for name, place in zip(CENTERS, (x, y), strict=True):
            found[name] = (2 * given["taper"][:, None] * place)[:, None, None] * waves
        return torch.stack([waves, *(found[name] for name in self.names)], dim=1)

    def _given(self, values: Tensor) -> dict[str, Tensor]:
        """The value (B,) of each parameter, the beam's own where it is none of these."""
        given = dict(zip(self.names, values.unbind(1), strict=True))
        for name in (*OFFSETS, *CENTERS, "taper", *LEAKS):
            given.setdefault(name, torch.full_like(values[:, 0], beam_parameter(self.beam, name)))
        return given

    def _masked(self, given: Mapping[str, Tensor], along: Sequence[str] = ()) -> Tensor:
        """Amplitudes behind the mask, and after them their slopes ``along`` its offsets.

        (B, 1 + along, polarizations, 2, 3, J)
        """
        places = [(given[name] - self.middle[axis]) / self.reach[axis] for axis, name in enumerate(OFFSETS)]
        series = polynomials(torch.stack(places, dim=1), self.terms)
        x, y = (series[:, axis, self.orders[:, axis]] for axis in (0, 1))
        terms = [x * y]
        if along:
            tilts = slopes(series)
        for name in along:
            axis = OFFSETS.index(name)
            tilt = tilts[:, axis, self.orders[:, axis]] / self.reach[axis]
            terms.append(tilt * (x, y)[1 - axis])
        # In one product, for the series is too long for the cache.
        return (torch.stack(terms, dim=1) @ self.series.flatten(1)).unflatten(2, self.series.shape[1:])

    def _lit(self, masked: Tensor, given: Mapping[str, Tensor], light: Tensor) -> Tensor:
        """The sum (B, ..., 2, 3, J) of the polarizations (B, ..., polarizations, 2, 3, J), in the light (B, J)."""
        if masked.shape[2] == 1:
            return masked[:, :, 0] * light[:, None, None, None]
        real, imaginary = (given[name][:, None, None, None, None] for name in LEAKS)
        main, other = masked.unbind(2)
        return (main + real * other + imaginary * times_i(other)) * (self._own(given) * light)[:, None, None, None]

    def _own(self, given: Mapping[str, Tensor]) -> Tensor:
        """What the beam's own polarization keeps of the amplitude, (B, 1)."""
        return torch.rsqrt(1 + given[LEAKS[0]] ** 2 + given[LEAKS[1]] ** 2)[:, None]

    def _seen(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Places x, y (B, J) in the pupil as seen from the middle of the light."""
        x, y = (place - given[name][:, None] for name, place in zip(CENTERS, (self.x, self.y), strict=True))
        return x, y

    def _light(self, given: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """How much stronger (B, J) the light is than that of the beam as it is."""
        return torch.exp(self.fall - (x**2 + y**2) * given["taper"][:, None])


def _chebyshev(place: np.ndarray, order: int) -> np.ndarray:
    return np.asarray(np.cos(order * np.arccos(np.clip(place, -1, 1))))
