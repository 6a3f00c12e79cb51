"""Where two foci lie to each other: the dark center of one and the spot of the other, as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline, make_interp_spline
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor

from stedalign.estimation.centering import centering_wavefront
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import AXES_OF
from stedalign.optics.targets import centered
from stedalign.optics.wavefront import Wavefront

Floats = NDArray[np.float64]
DARK_ALONG_THE_AXIS = 0.2
"""On the axis a focus that stays below this share of its crest is a donut, which is dark at every height."""
NEAR = 0.3
"""How far from the fitted place a focus is looked for in a section, in wavelengths over the NA."""
DEGREE, BESIDE = 5, 8
"""Of the splines between pixels, and how many pixels beside those that are searched they follow."""
STEP_SIGMAS = 0.3
"""Standard deviations over which places are differentiated."""


@dataclass(frozen=True)
class Overlay:
    """How the excitation's spot lies to the zero of the depletion beam, along x, y, z."""

    spot_minus_zero_nm: tuple[float, float, float]
    """As they are."""
    sigma_nm: tuple[float, float, float]
    after_correction_nm: tuple[float, float, float]
    """The same with the depletion beam's wavefront corrected, which moves the zero, too."""
    after_correction_sigma_nm: tuple[float, float, float]
    foci_apart_nm: tuple[float, float, float]
    """Between the places where both foci would lie without any aberration."""
    foci_apart_sigma_nm: tuple[float, float, float]
    centering: Wavefront
    """Tip, tilt and defocus that, added to the correction of the depletion beam, would bring its zero to the spot."""

    @property
    def words(self) -> str:
        """Spot minus zero as they are, with standard deviations."""
        each = zip("xyz", self.spot_minus_zero_nm, self.sigma_nm, strict=True)
        distances = (f"{axis} {value:+.0f} ± {sigma:.0f}" for axis, value, sigma in each)
        return f"spot minus zero {', '.join(distances)} nm"

    def to_json(self) -> dict[str, Any]:
        plain = {name: list(value) for name, value in vars(self).items() if isinstance(value, tuple)}
        return plain | {"centering": self.centering.to_json()}

    @classmethod
    def of(
        cls,
        places: Callable[[Float[Tensor, "images parameters"]], Foci],
        parameters: Float[Tensor, " parameters"],
        covariance: Float[Tensor, "parameters parameters"],
        depletion: ForwardSpec,
    ) -> Overlay:
        """Of the foci at fitted ``parameters`` (P,) with their ``covariance``; ``places`` tells them for any (B, P)."""
        sigma = covariance.diagonal().clamp_min(0).sqrt()
        moved = sigma.nonzero()[:, 0]
        steps = torch.zeros(len(moved), len(parameters), dtype=parameters.dtype)
        steps[range(len(moved)), moved] = STEP_SIGMAS * sigma[moved]
        foci = places(torch.cat([parameters[None], parameters + steps, parameters - steps]))
        distances = []
        for apart in (foci.spot - foci.zero, foci.spot - foci.mended, foci.spot_alone - foci.zero_alone):
            ahead, behind = apart[1 : 1 + len(moved)], apart[1 + len(moved) :]
            slopes = (ahead - behind) / (2 * STEP_SIGMAS * sigma[moved].numpy()[:, None])
            variance = np.einsum("pa,pq,qa->a", slopes, covariance[moved][:, moved].numpy(), slopes)
            distances.append((_triple(apart[0]), _triple(np.sqrt(np.clip(variance, 0, None)))))
        now, corrected, alone = distances
        x, y, z = corrected[0]
        centering = centering_wavefront((-x, -y, -z), depletion.objective, depletion.beam.wavelength_nm)
        return cls(*now, *corrected, *alone, centering)


@dataclass(frozen=True, eq=False)
class Foci:
    """Where foci lie in B images, each (B, 3) along x, y, z in nm."""

    zero: Float[Floats, "images 3"]
    """Of the depletion beam, as it is."""
    mended: Float[Floats, "images 3"]
    """The same without its wavefront."""
    spot: Float[Floats, "images 3"]
    zero_alone: Float[Floats, "images 3"]
    """Where the depletion beam's focus would lie without any aberration, as the fit has it."""
    spot_alone: Float[Floats, "images 3"]


class PlaceOfFocus:
    """Where a beam's focus lies by its forward model: its dark center, or its spot where it has none.

    Along x and y the darkest or the brightest point of the xy section; along z where the light of the other sections is
    the most concentrated, or, of a zero that is closed in space, darkest. Without an xy section the others tell x and
    y, too, and where nothing tells a coordinate it is the fitted one.
    """

    def __init__(self, model: ForwardModel) -> None:
        self.model = model
        beam = model.spec.beam
        self.sign = 1.0 if beam.pattern.has_zero else -1.0
        """Of what is lowest at the place."""
        self.near_nm = NEAR * beam.wavelength_nm / model.spec.objective.na
        self.closed = beam.pattern.has_zero and self._is_closed()

    def __call__(self, vectors: Float[Tensor, "images parameters"]) -> Float[Floats, "images 3"]:
        """Places (B, 3) in nm for parameters (B, P)."""
        images = self._images(vectors)
        return np.stack([self._place(image, vector) for image, vector in zip(images, vectors, strict=True)])

    def without_wavefront(self, vectors: Float[Tensor, "images parameters"]) -> Float[Floats, "images 3"]:
        """The same with all modes zero."""
        plain = vectors.clone()
        plain[:, self.model.layout.modes] = 0
        return self(plain)

    def _images(self, vectors: Tensor) -> list[dict[str, Floats]]:
        with torch.no_grad():
            images = self.model.unbinned(vectors.to(self.model.focus.scale.dtype)).double().numpy()
        return [dict(zip(self.model.view.parts, image, strict=True)) for image in images]

    def _is_closed(self) -> bool:
        """Whether the unaberrated focus is bright above and below its zero."""
        layout = self.model.layout
        vector = torch.zeros(1, len(layout), dtype=torch.float64)
        vector[:, layout.free] = torch.tensor(layout.nominal)
        vector[:, layout.scale] = 1.0
        along = [image for name, image in self._images(vector)[0].items() if name != "xy"]
        on_axis = [image[:, image.shape[1] // 2].max() / image.max() for image in along]
        return bool(on_axis) and min(on_axis) > DARK_ALONG_THE_AXIS

    def _place(self, sections: dict[str, Floats], vector: Tensor) -> Floats:
        """Of the focus (3,) in the expected ``sections``."""
        layout = self.model.layout
        fitted = dict(zip("xyz", vector[layout.shift].tolist(), strict=True))
        seen: dict[str, list[float]] = {axis: [] for axis in "xyz"}
        for name, section in sections.items():
            down, across = tuple(AXES_OF[name])
            grid = self._grid(section.shape, name, vector)
            if name == "xy" or self.closed:
                row, column = _lowest(self.sign * section, grid, (fitted[down], fitted[across]), self.near_nm)
            else:
                row = _most_concentrated(section, grid[0])
                at = self.sign * section[np.abs(grid[0] - row).argmin()]
                column = _lowest_on_a_line(at, grid[1], fitted[across], self.near_nm)
            seen[down].append(row)
            if name == "xy" or "xy" not in sections:
                seen[across].append(column)
        return np.array([np.mean(seen[axis]) if seen[axis] else fitted[axis] for axis in "xyz"])

    def _grid(self, shape: tuple[int, ...], name: str, vector: Tensor) -> list[Floats]:
        """Where the rows and columns of a section lie, in true nm."""
        layout, grid = self.model.layout, []
        for (axis, pixel), count in zip(self.model.view.pixel_of(name).items(), shape, strict=True):
            error = sum(float(vector[column]) for column in layout.columns([f"pixel_error_{axis}"]))
            grid.append(centered(count, pixel) * (1 + error))
        return grid


def _lowest(section: Floats, grid: list[Floats], near: tuple[float, float], reach_nm: float) -> tuple[float, float]:
    """The lowest point (row, column in nm) of a section within reach of a place."""
    inside = [_within(line, place, reach_nm) for line, place in zip(grid, near, strict=True)]
    rows, columns = (slice(max(0, side.start - BESIDE), side.stop + BESIDE) for side in inside)
    surface = RectBivariateSpline(grid[0][rows], grid[1][columns], section[rows, columns], kx=DEGREE, ky=DEGREE)
    window = section[inside[0], inside[1]]
    down, across = (line[side] for line, side in zip(grid, inside, strict=True))
    row, column = np.unravel_index(window.argmin(), window.shape)
    size = np.abs(window).max()
    end = minimize(
        lambda at: float(surface(*at, grid=False)) / size,
        [down[row], across[column]],
        jac=lambda at: np.array([surface(*at, dx=1, grid=False), surface(*at, dy=1, grid=False)]) / size,
        bounds=[(down[0], down[-1]), (across[0], across[-1])],
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    return float(end.x[0]), float(end.x[1])


def _within(line: Floats, place: float, reach_nm: float) -> slice:
    """The pixels of a line within reach of a place; the three nearest ones where there are fewer."""
    first, last = np.searchsorted(line, [place - reach_nm, place + reach_nm])
    nearest = int(np.clip(np.abs(line - place).argmin(), 1, len(line) - 2))
    return slice(min(int(first), nearest - 1), max(int(last), nearest + 2))


def _lowest_on_a_line(values: Floats, line: Floats, near: float, reach_nm: float) -> float:
    """The lowest place of values along a line, within reach of a place."""
    inside = _within(line, near, reach_nm)
    return _lowest_of(values, line, inside.start + int(values[inside].argmin()))


def _most_concentrated(section: Floats, rows: Floats) -> float:
    """The row where the light of a section is the most concentrated, in nm."""
    light = section - section.min()
    sharpness = (light**2).sum(axis=1)
    return _lowest_of(-sharpness, rows, int(sharpness.argmax()))


def _lowest_of(values: Floats, line: Floats, lowest: int) -> float:
    """Where values along a line are lowest, next to the ``lowest`` of them."""
    spline = make_interp_spline(line, values / np.abs(values).max(), k=DEGREE)
    around = line[max(0, lowest - 1)], line[min(len(line) - 1, lowest + 1)]
    end = minimize_scalar(spline, bounds=around, method="bounded", options={"xatol": 1e-4})
    return float(end.x)


def _triple(values: Floats) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
