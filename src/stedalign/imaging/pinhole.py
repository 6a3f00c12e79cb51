"""What a confocal pinhole makes of an image (``Pinhole``)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from stedalign.focusing.chebyshev import polynomials, slopes
from stedalign.focusing.confocal import detection_efficiency
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import View
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import PINHOLE, PIXEL_ERRORS
from stedalign.optics.resolution import bandwidth
from stedalign.optics.targets import AXES

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]
Number = TypeVar("Number", float, Tensor)
chebyshev = np.polynomial.chebyshev

BESIDE, FARTHEST = 1.0, 4.0
"""Wavelengths around the pixels in which the efficiency is followed as the image moves, and from the focus at most:
farther out it stays as it is there."""
SPARE = 3
"""Terms along x, y, z beyond those that the bandwidth takes: good to 1e-4."""
TERMS = 32
"""Terms of the series in a free pinhole, fitted to twice as many: within two wavelengths of the focus good to 1e-3."""
HALFWAY = 0.03
"""The inverse cube of a pinhole, 3.2 Airy units wide, that lies in the middle between an open and a closed one."""
WIDEST = 20.0
"""Airy units beyond which the efficiency follows its law for wide pinholes."""


class Pinhole(torch.nn.Module):
    """The detection efficiency at the pixels of a view, with its derivatives.

    A bead at r has the light I(r), of which the pinhole lets D(r) through, with D = 1 in the focus
    (``detection_efficiency``). The pinhole is aligned to the focus and the image moves as a whole: D at a pixel is that
    at the place where the focus sees it, shifts and errors of the pixels included. It has the image's bandwidth, so few
    Chebyshev polynomials along x, y and z tell it, and their products are cheap.

    A bead takes D in its middle, as does a binned pixel. The mean of I x D over a bead of radius R has (R^2 / 5)
    grad D . grad I more, to first order (a blur its variance in the place of R^2 / 5). For the donut of an 80 nm bead
    that is 2 % (relative L2) at 0.5 Airy units, 0.8 % at 1 and 0.02 % at 3. It acts as pixels too small by 0.7 %, 0.3 %
    and nothing: where their size may deviate so far, modes are off by 2, 1 and 0 mwaves rms in all.
    """

    series: Tensor

    def __init__(self, spec: ForwardSpec, view: View, layout: ParameterLayout, reach: dict[str, float]) -> None:
        """``reach`` is how far each free parameter may deviate from its nominal value."""
        super().__init__()
        self.layout, self.parts = layout, len(view.parts)
        wavelength = spec.beam.wavelength_nm
        half = [BESIDE * wavelength] * 3
        for index, grid in enumerate(view.targets()):
            places = [torch.zeros(1)] * 3
            for line in grid.axes:
                axis = int(np.argmax(line.direction))
                places[axis] = torch.from_numpy(line.positions_nm)
                widest = np.abs(line.positions_nm).max() * (1 + reach.get(PIXEL_ERRORS[axis], 0.0))
                half[axis] = max(half[axis], widest + BESIDE * wavelength)
            for axis, place in enumerate(places):
                self.register_buffer(f"place{index}{axis}", place)
        x, y, z = (float(min(size, FARTHEST * wavelength)) for size in half)
        self.extent_nm = x, y, z
        nominal = spec.detection.inverse_pinhole_cubed
        most = reach.get(PINHOLE)
        self.ends = (nominal, nominal) if most is None else (max(nominal - most, 0.0), nominal + most)
        self.register_buffer("series", torch.from_numpy(_series(spec.objective, wavelength, self.extent_nm, self.ends)))

    def forward(self, parameters: Float[Tensor, "images parameters"], binning: int = 1) -> Float[Tensor, "images _ _"]:
        """The efficiency (B, parts, pixels) for ``parameters`` (B, layout.focus.stop)."""
        core = self._core(parameters)
        along = [[self._along(parameters, part, axis, binning)[0] for axis in range(3)] for part in range(self.parts)]
        return torch.stack([_product(core, factors) for factors in along], dim=1)

    def slopes(
        self, parameters: Float[Tensor, "images parameters"], binning: int = 1
    ) -> Iterator[tuple[int, int, Float[Tensor, "images pixels"]]]:
        """The derivatives (B, pixels) that do not vanish, each with the part and the column of its parameter."""
        layout, core = self.layout, self._core(parameters)
        for part in range(self.parts):
            values, tilts, places = zip(
                *(self._along(parameters, part, axis, binning) for axis in range(3)), strict=True
            )
            for axis in range(3):
                moved = _product(core, [*values[:axis], -tilts[axis], *values[axis + 1 :]])
                yield part, layout.shift.start + axis, moved
                if layout.drifting:
                    yield part, layout.drift.start + 3 * part + axis, moved
                if len(places[axis]) > 1:
                    stretched = places[axis][:, None] * tilts[axis]
                    for column in layout.columns([PIXEL_ERRORS[axis]]):
                        yield part, column, _product(core, [*values[:axis], stretched, *values[axis + 1 :]])
            for column in layout.columns([PINHOLE]):
                yield part, column, _product(self._core(parameters, slope=True), values)

    def _core(self, parameters: Tensor, *, slope: bool = False) -> Tensor:
        """Coefficients (1 or B, x, y, z) of the efficiency, or of its ``slope`` in the pinhole's parameter."""
        if len(self.series) == 1:
            return self.series
        (column,) = self.layout.columns([PINHOLE])
        wide, narrow = map(_closed, self.ends)
        value = parameters[:, column]
        terms = polynomials((2 * _closed(value) - wide - narrow) / (narrow - wide), len(self.series))
        if slope:
            terms = slopes(terms) * (2 / (narrow - wide) * HALFWAY / (value + HALFWAY) ** 2)[:, None]
        return torch.tensordot(terms, self.series, dims=1)

    def _along(self, parameters: Tensor, part: int, axis: int, binning: int) -> tuple[Tensor, Tensor, Tensor]:
        """Polynomials (B, pixels, terms) along an axis of a part, their slopes, and the places (pixels,) in nm."""
        layout, place = self.layout, self.get_buffer(f"place{part}{axis}").to(self.series)
        if len(place) > 1 and binning > 1:
            place = place.unflatten(0, (-1, binning)).mean(1)
        seen = place - parameters[:, layout.shift][:, axis, None]
        if layout.drifting:
            seen = seen - parameters[:, layout.drift][:, 3 * part + axis, None]
        for column in layout.columns([PIXEL_ERRORS[axis]]):
            seen = seen + place * parameters[:, column, None]
        half, count = self.extent_nm[axis], self.series.shape[1 + axis]
        inside = seen.abs() < half
        # The efficiency is even in x and y.
        step = 1 if axis == 2 else 2
        values = polynomials((seen / half).clamp(-1, 1), step * (count - 1) + 1)
        tilts = slopes(values) * (inside / half)[..., None]
        return values[..., ::step], tilts[..., ::step], place


def _product(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """The sum (B, pixels) of coefficients (1 or B, x, y, z) times polynomials (B, pixels, terms) along each axis."""
    maps = "bxyz,bnx->bnyz", "bxyz,bny->bxnz", "bxyz,bnz->bxyn"
    # Axes that a part does not resolve first, which leaves the least to do.
    for axis in sorted(range(3), key=lambda axis: factors[axis].shape[1]):
        core = torch.einsum(maps[axis], core, factors[axis])
    return core.permute(0, 3, 2, 1).flatten(1)


def _closed(cube: Number) -> Number:
    """From 0 for an open pinhole to 1 for a closed one, by the inverse ``cube`` of its width."""
    return cube / (cube + HALFWAY)


@lru_cache(maxsize=8)
def _series(objective: Objective, wavelength_nm: float, half_nm: Triple, ends: tuple[float, float]) -> Floats:
    """Chebyshev coefficients (pinholes, x, y, z) of the efficiency for inverse cubes of pinholes between ``ends``.

    In the variable ``_closed`` for these, up to ``half_nm`` along x, y, z; of x and y the even ones alone.
    """
    highest = [bandwidth(objective, direction, wavelength_nm) for direction in AXES.values()]
    width = np.multiply(highest, half_nm)
    counts = [SPARE + math.ceil(width[0] / 2), SPARE + math.ceil(width[1] / 2), 2 * SPARE + math.ceil(width[2])]
    nodes = [chebyshev.chebpts1(2 * count)[count:] for count in counts[:2]] + [chebyshev.chebpts1(counts[2])]
    fits = [np.linalg.inv(chebyshev.chebvander(node, 2 * len(node) - 2)[:, ::2]) for node in nodes[:2]]
    fits.append(np.linalg.inv(chebyshev.chebvander(nodes[2], counts[2] - 1)))
    x, y, z = (half * node for half, node in zip(half_nm, nodes, strict=True))
    rho = np.hypot(x[:, None], y)
    line = np.linspace(0.0, rho.max(), math.ceil(rho.max() / wavelength_nm * objective.na * 30))

    wide, narrow = map(_closed, ends)
    one = wide == narrow
    place = np.zeros(1) if one else chebyshev.chebpts1(2 * TERMS)
    closed = (narrow + wide + (narrow - wide) * place) / 2
    cubes = HALFWAY * closed / (1 - closed)
    resolved = np.maximum(cubes, WIDEST**-3)
    radii = 0.61 * wavelength_nm / objective.na * resolved ** (-1 / 3)
    found = detection_efficiency(objective, wavelength_nm, radii, line, z)
    found = 1 + (found - 1) * (cubes / resolved)[:, None, None]
    values = CubicSpline(line, found, axis=1)(rho)
    fit = np.ones((1, 1)) if one else np.linalg.pinv(chebyshev.chebvander(place, TERMS - 1))
    return np.einsum("tp,ax,by,cz,pxyz->tabc", fit, *fits, values, optimize=True)
