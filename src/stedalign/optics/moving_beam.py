"""A beam whose mask, light and polarization differ from picture to picture, written on one grid of plane waves.

What a displaced mask is on the grid has to be integrated from its core outwards, but it changes smoothly with the
displacement: a short series in it says the same a hundred times faster, with its slopes. The light's envelope is smooth
over the pupil and multiplies the waves of the grid as aberrations do; the polarization's leak adds a second beam.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from stedalign.optics.beam import Beam, Objective
from stedalign.optics.chebyshev import polynomials, slopes
from stedalign.optics.kernels import times_i
from stedalign.optics.polar_grid import PolarGrid
from stedalign.optics.pupil import beam_parameter, plane_waves

Nodes = tuple[int, int]
OFFSETS = "mask_offset_x", "mask_offset_y"
LEAKS = "leak_real", "leak_imaginary"
CENTERS = "fill_center_x", "fill_center_y"
chebyshev = np.polynomial.chebyshev


class MovingBeam(torch.nn.Module):
    """Amplitudes of a beam on a grid of plane waves for values of some of ``pupil.BEAM_PARAMETERS``."""

    x: Tensor
    y: Tensor
    orders: Tensor
    series: Tensor

    def __init__(
        self,
        objective: Objective,
        beam: Beam,
        grid: PolarGrid,
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

    def forward(self, values: Tensor) -> Tensor:
        """Real and imaginary parts (B, 2, 3, J) of the amplitudes for parameters (B, names)."""
        given = self._given(values)
        own, leak = self._polarizations(given)
        return self._polarized(self._masked(self._terms(given)), own, leak) * self._envelope(given)[:, None, None]

    def slopes(self, values: Tensor) -> Tensor:
        """Their derivatives (B, names, 2, 3, J)."""
        given = self._given(values)
        own, leak = self._polarizations(given)
        light = self._envelope(given)[:, None, None]
        masked = self._masked(self._terms(given))
        waves = self._polarized(masked, own, leak) * light
        x, y = (self._place(given, name, place) for name, place in zip(CENTERS, (self.x, self.y), strict=True))
        found = []
        for name in self.names:
            if name in OFFSETS:
                moved = self._masked(self._terms(given, along=OFFSETS.index(name)))
                found.append(self._polarized(moved, own, leak) * light)
            elif name in LEAKS:
                part = leak[LEAKS.index(name)]
                shrunk = -(own**2 * part)[:, None, None, None] * waves
                other = masked[:, 1] if name == LEAKS[0] else times_i(masked[:, 1])
                found.append(shrunk + own[:, None, None, None] * other * light)
            elif name == "taper":
                found.append(-(x**2 + y**2)[:, None, None] * waves)
            else:
                found.append((2 * given["taper"][:, None] * (x if name == CENTERS[0] else y))[:, None, None] * waves)
        return torch.stack(found, dim=1)

    def _given(self, values: Tensor) -> dict[str, Tensor]:
        """The value (B,) of each parameter, the beam's own where it is none of these."""
        given = dict(zip(self.names, values.unbind(1), strict=True))
        for name in (*OFFSETS, *CENTERS, "taper", *LEAKS):
            given.setdefault(name, torch.full_like(values[:, 0], beam_parameter(self.beam, name)))
        return given

    def _terms(self, given: Mapping[str, Tensor], along: int | None = None) -> Tensor:
        """The products (B, terms) of polynomials in the mask's offset, or their slopes ``along`` x (0) or y (1)."""
        columns = []
        for axis, name in enumerate(OFFSETS):
            place = (given[name] - self.middle[axis]) / self.reach[axis]
            values = polynomials(place, 1 + int(self.orders[:, axis].max()))
            columns.append(slopes(values) / self.reach[axis] if axis == along else values)
        return columns[0][:, self.orders[:, 0]] * columns[1][:, self.orders[:, 1]]

    def _masked(self, terms: Tensor) -> Tensor:
        """(B, polarizations, 2, 3, J)"""
        return torch.tensordot(terms, self.series, dims=1)

    def _polarizations(self, given: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """What the beam's own polarization keeps of the amplitude (B,), and what leaks."""
        real, imaginary = (given[name] for name in LEAKS)
        return torch.rsqrt(1 + real**2 + imaginary**2), (real, imaginary)

    def _polarized(self, masked: Tensor, own: Tensor, leak: tuple[Tensor, Tensor]) -> Tensor:
        if masked.shape[1] == 1:
            return masked[:, 0]
        real, imaginary = (part[:, None, None, None] for part in leak)
        other = masked[:, 1]
        return own[:, None, None, None] * (masked[:, 0] + real * other + imaginary * times_i(other))

    def _envelope(self, given: Mapping[str, Tensor]) -> Tensor:
        """How much stronger (B, J) the light is than that of the beam as it is."""
        x, y = (self._place(given, name, place) for name, place in zip(CENTERS, (self.x, self.y), strict=True))
        center_x, center_y = self.beam.fill_center
        own = ((self.x - center_x) ** 2 + (self.y - center_y) ** 2) * self.beam.taper
        return torch.exp(own - (x**2 + y**2) * given["taper"][:, None])

    def _place(self, given: Mapping[str, Tensor], name: str, place: Tensor) -> Tensor:
        return place - given[name][:, None]


def _chebyshev(place: np.ndarray, order: int) -> np.ndarray:
    return np.asarray(np.cos(order * np.arccos(np.clip(place, -1, 1))))
