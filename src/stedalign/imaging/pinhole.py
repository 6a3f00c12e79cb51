"""What a confocal pinhole makes of an image (``Pinhole``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from stedalign.focusing.chebyshev import polynomials, slopes
from stedalign.focusing.confocal import detection_efficiency
from stedalign.imaging.differences import differences
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import View
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import BEAD, BLUR, PINHOLE, PIXEL_ERRORS, SHEARS
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


class _Pixels(NamedTuple):
    """The pixels of one part of an image, for the axes x, y, z."""

    places: list[Tensor]
    """Their places in nm before they are moved, (pixels,); one at 0 along an axis that the part does not resolve."""
    factors: list[list[Tensor]]
    """Means of polynomials (B, pixels, terms) of the places where the focus sees them, and their first and second
    slopes; of x and y (B, rows, pixels, terms) where each row along z sees others."""
    spread: list[list[Tensor]]
    """Their derivatives in the variance."""
    variances: dict[int, Tensor]
    """What a pixel averages over, (B, 1) in nm^2, along the axes that the part resolves."""

    @property
    def shape(self) -> list[int]:
        """Along z, y, x."""
        return [len(place) for place in reversed(self.places)]

    def along(self, axis: int) -> Tensor:
        """The place of each pixel along an axis, (pixels,)."""
        sides = [-1 if side == 2 - axis else 1 for side in range(3)]
        return self.places[axis].reshape(sides).expand(self.shape).flatten()


class Pinhole(torch.nn.Module):
    """What a confocal pinhole makes of the light of a view's pixels, with its derivatives.

    A bead at r has the light I(r), of which the pinhole lets D(r) through, with D = 1 in the focus
    (``detection_efficiency``). The pinhole is aligned to the focus and the image moves as a whole: D at a pixel is that
    at the place where the focus sees it, shifts and errors of the pixels included. It has the image's bandwidth, so few
    Chebyshev polynomials along x, y and z tell it, and their products are cheap.

    A bead averages I x D over its ball, but the light that is given is the mean of I. To first order the mean of the
    product is mean(I) mean(D) + V dI/dx dD/dx + ..., where mean(D) = D + V/2 d2D/dx2 + ..., with V = R^2 / 5 for a ball
    of radius R, and likewise with the variances of a blur and of what a pixel integrates or adds up. The slopes of I
    are differences of pixels, along the axes that the part resolves; across it D has next to no slope. Of an 80 nm
    bead's donut this is 2 % (relative L2) at 0.5 Airy units, 0.8 % at 1 and 0.02 % at 3, and a fiftieth is left.
    """

    series: Tensor

    def __init__(self, spec: ForwardSpec, view: View, layout: ParameterLayout, reach: dict[str, float]) -> None:
        """``reach`` is how far each free parameter may deviate from its nominal value."""
        super().__init__()
        self.layout, self.parts, self.view = layout, len(view.parts), view
        self.diameter_nm = spec.bead.diameter_nm
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

    def forward(
        self,
        light: Float[Tensor, "images parts pixels"],
        parameters: Float[Tensor, "images parameters"],
        binning: int = 1,
    ) -> Float[Tensor, "images parts pixels"]:
        """What is left of the ``light`` for ``parameters`` (B, layout.focus.stop); both (B, parts, pixels)."""
        core, left = self._core(parameters), []
        for part in range(self.parts):
            pixels = self._pixels(parameters, part, binning)
            left.append(_weighed(_efficiency(core, pixels), light[:, part], _gradients(light[:, part], pixels), pixels))
        return torch.stack(left, dim=1)

    def linearize(
        self,
        light: Float[Tensor, "images parts pixels"],
        slopes: Float[Tensor, "images some parts pixels"],
        parameters: Float[Tensor, "images parameters"],
        binning: int = 1,
    ) -> tuple[Float[Tensor, "images parts pixels"], Float[Tensor, "images parameters parts pixels"]]:
        """The same and its derivatives, for the ``slopes`` of the light along the parameters that the focus takes."""
        layout, core, narrower = self.layout, self._core(parameters), self._core(parameters, slope=True)
        left = torch.empty_like(light)
        derivatives = slopes.new_zeros(len(slopes), parameters.shape[1], *light.shape[1:])
        for part in range(self.parts):
            pixels, place = self._pixels(parameters, part, binning), derivatives[:, :, part]
            efficiency, gradients = _efficiency(core, pixels), _gradients(light[:, part], pixels)
            left[:, part] = _weighed(efficiency, light[:, part], gradients, pixels)
            given = slopes[:, :, part]
            place[:, : given.shape[1]] = _weighed(efficiency, given, _gradients(given, pixels), pixels)
            for column, share in self._widening(parameters):
                wider = sum((efficiency[axis] * gradient for axis, gradient in gradients.items()), 0 * light[:, part])
                for axis in range(3):
                    factors = [*pixels.factors[:axis], pixels.spread[axis], *pixels.factors[axis + 1 :]]
                    spread = _efficiency(core, pixels._replace(factors=factors))
                    wider = wider + _weighed(spread, light[:, part], gradients, pixels)
                place[:, column] += share * wider
            for axis in range(3):
                moved = _weighed(_efficiency(core, pixels, axis), light[:, part], gradients, pixels)
                place[:, layout.shift.start + axis] -= moved
                if layout.drifting:
                    place[:, layout.drift.start + 3 * part + axis] -= moved
                for column in layout.columns([PIXEL_ERRORS[axis]]):
                    place[:, column] += moved * pixels.along(axis)
                for column in layout.columns(SHEARS[axis : axis + 1]):
                    place[:, column] -= moved * pixels.along(2)
            for column in layout.columns([PINHOLE]):
                place[:, column] = _weighed(_efficiency(narrower, pixels), light[:, part], gradients, pixels)
        return left, derivatives

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

    def _pixels(self, parameters: Tensor, part: int, binning: int) -> _Pixels:
        places, factors, spread, variances = [], [], [], {}
        blur, bead_nm = self.layout.columns([BLUR]), self._bead_nm(parameters)
        smeared = bool(blur) or bool(self.layout.columns([BEAD])) or self.diameter_nm > 0
        for axis in range(3):
            place = self.get_buffer(f"place{part}{axis}").to(self.series)
            variance = (bead_nm / 2) ** 2 / 5 + parameters[:, blur].sum(1, keepdim=True)
            if len(place) > 1:
                place = place.unflatten(0, (-1, binning)).mean(1)
                # Of the places in a pixel that holds ``binning`` points, or as many intervals.
                pixel = self.view.pixel_of(self.view.parts[part])["xyz"[axis]]
                over = pixel**2 * (binning**2 - (not self.view.integrate)) / 12
                variance = variance + over
                # A point that nothing smears takes no slopes, and one pixel has none.
                if len(place) > 1 and (smeared or over > 0):
                    variances[axis] = variance
            along = self._along(parameters, place, part, axis, binning)
            places.append(place)
            spread.append([further / 2 for further in along[2:]])
            of_image = variance.reshape(-1, *[1] * (along[0].ndim - 1))
            factors.append([one + of_image * more for one, more in zip(along, spread[-1], strict=False)])
        return _Pixels(places, factors, spread, variances)

    def _bead_nm(self, parameters: Tensor) -> Tensor:
        """The bead's diameter, (B, 1)."""
        return (self.diameter_nm + parameters[:, self.layout.columns([BEAD])].sum(1, keepdim=True)).clamp_min(0)

    def _widening(self, parameters: Tensor) -> list[tuple[int, Tensor | float]]:
        """The columns that change the variance, each with the variance for one unit of it, (B, 1)."""
        beads = [(column, self._bead_nm(parameters) / 10) for column in self.layout.columns([BEAD])]
        return [*((column, 1.0) for column in self.layout.columns([BLUR])), *beads]

    def _along(self, parameters: Tensor, place: Tensor, part: int, axis: int, binning: int) -> list[Tensor]:
        """Polynomials (B, pixels, terms) along an axis, and their slopes of the orders 1 to 4.

        Where a shear is free (B, rows, pixels, terms) along x and y.
        """
        layout = self.layout
        seen = place - parameters[:, layout.shift][:, axis, None]
        if layout.drifting:
            seen = seen - parameters[:, layout.drift][:, 3 * part + axis, None]
        for column in layout.columns([PIXEL_ERRORS[axis]]):
            seen = seen + place * parameters[:, column, None]
        rows = self.get_buffer(f"place{part}2").to(place)
        if axis < 2 and layout.columns(SHEARS) and len(rows) > 1:
            rows = rows.unflatten(0, (-1, binning)).mean(1)
            shear = parameters[:, layout.columns(SHEARS[axis : axis + 1])].sum(1)
            seen = seen[:, None] - shear[:, None, None] * rows[:, None]
        half, count = self.extent_nm[axis], self.series.shape[1 + axis]
        inside = ((seen.abs() < half) / half)[..., None]
        # The efficiency is even in x and y.
        step = 1 if axis == 2 else 2
        derivatives = [polynomials((seen / half).clamp(-1, 1), step * (count - 1) + 1)]
        for _ in range(4):
            derivatives.append(slopes(derivatives[-1]) * inside)
        return [values[..., ::step] for values in derivatives]


def _efficiency(core: Tensor, pixels: _Pixels, along: int | None = None) -> dict[int | None, Tensor]:
    """The mean efficiency (B, pixels), or its slope ``along`` an axis, and slopes of that along the variances' axes."""
    efficiency: dict[int | None, Tensor] = {}
    for further in (None, *pixels.variances):
        orders = [(axis == along) + (axis == further) for axis in range(3)]
        efficiency[further] = _product(core, [pixels.factors[axis][order] for axis, order in enumerate(orders)])
    return efficiency


def _product(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """The sum (B, pixels) of coefficients (1 or B, x, y, z) times polynomials (B, pixels, terms) along each axis.

    Of x and y (B, rows, pixels, terms) where each row along z has its own.
    """
    if factors[0].ndim == 4:
        core = torch.einsum("bxyz,bnz->bxyn", core, factors[2])
        core = torch.einsum("bxyn,bnkx->bkyn", core, factors[0])
        return torch.einsum("bkyn,bnly->bnlk", core, factors[1]).flatten(1)
    maps = "bxyz,bnx->bnyz", "bxyz,bny->bxnz", "bxyz,bnz->bxyn"
    # Axes that a part does not resolve first, which leaves the least to do.
    for axis in sorted(range(3), key=lambda axis: factors[axis].shape[1]):
        core = torch.einsum(maps[axis], core, factors[axis])
    return core.permute(0, 3, 2, 1).flatten(1)


def _weighed(
    efficiency: Mapping[int | None, Tensor], light: Tensor, gradients: Mapping[int, Tensor], pixels: _Pixels
) -> Tensor:
    """The mean of the efficiency times the light (B, ..., pixels), each given by its mean and its slopes."""

    def like(share: Tensor) -> Tensor:
        return share if light.ndim == 2 else share[:, None]

    total = like(efficiency[None]) * light
    for axis, gradient in gradients.items():
        total = total + like(efficiency[axis] * pixels.variances[axis]) * gradient
    return total


def _gradients(light: Tensor, pixels: _Pixels) -> dict[int, Tensor]:
    """The slopes (B, ..., pixels) of light, per nm, along the axes of the variances."""
    gradients = {}
    for axis in pixels.variances:
        place, faster = pixels.places[axis], math.prod(pixels.shape[3 - axis :])
        matrix = torch.from_numpy(differences(len(place))).to(light) / (place[1] - place[0])
        lines = light.reshape(-1, len(place), faster)
        gradients[axis] = (matrix @ lines).reshape(light.shape)
    return gradients


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
    efficiency = detection_efficiency(objective, wavelength_nm, radii, line, z)
    efficiency = 1 + (efficiency - 1) * (cubes / resolved)[:, None, None]
    values = CubicSpline(line, efficiency, axis=1)(rho)
    fit = np.ones((1, 1)) if one else np.linalg.pinv(chebyshev.chebvander(place, TERMS - 1))
    return np.einsum("tp,ax,by,cz,pxyz->tabc", fit, *fits, values, optimize=True)
