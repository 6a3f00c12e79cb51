"""The confocal pinhole of the simulated microscope: how much of the light from each place reaches the detector.

The detection is the focus of the same lens for unpolarized light of an even pupil, convolved with the pinhole as it
lies in the sample. It is round and the same above and below the focus, so a table over radius and height holds it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, RectBivariateSpline

from stedalign.simulator.lens import CartesianLens

Floats = NDArray[np.float64]

AIRY_DIAMETER = 1.22
"""Of the first dark ring of a scalar focus of low aperture, in wavelengths over NA: 1 Airy unit."""
STEP_NM = 500.0
"""Tables reach to multiples of this, so that few are made."""
POINTS_A_WAVE = 20
"""Of the table, along the shortest wave of the intensity; a cubic spline between them is good to 1e-5."""
RINGS_A_WAVE = 150
"""Into which the spot is cut, which the pinhole covers in part."""


class Pinhole:
    """How well light from (x, y, z) in nm from the focus is detected, 1 from the focus itself."""

    def __init__(self, lens: CartesianLens, airy_units: float, airy_nm: float) -> None:
        self._lens, self._radius_nm = lens, airy_units * airy_nm / 2

    def __call__(self, x_nm: Floats, y_nm: Floats, z_nm: Floats) -> Floats:
        radius, height = np.broadcast_arrays(np.hypot(x_nm, y_nm), np.abs(z_nm))
        reach_nm = [float(np.ceil((1 + part.max()) / STEP_NM) * STEP_NM) for part in (radius, height)]
        return np.asarray(_table(self._lens, self._radius_nm, *reach_nm).ev(radius, height))


@lru_cache(maxsize=8)
def _table(lens: CartesianLens, pinhole_nm: float, reach_nm: float, height_nm: float) -> RectBivariateSpline:
    """The detection over radii up to ``reach_nm`` and heights up to ``height_nm``."""
    shortest_nm = 2 * np.pi / lens.highest_frequency
    radii, heights = (_evenly(most, shortest_nm / POINTS_A_WAVE) for most in (reach_nm, height_nm))
    spot_radii = _evenly(reach_nm + pinhole_nm, shortest_nm / POINTS_A_WAVE)
    even, flat = np.ones_like(lens.x), np.zeros_like(lens.x)
    spot = sum(
        lens.xz(lens.waves(np.array(jones, dtype=np.complex128), even, flat), spot_radii, 0.0, heights)
        for jones in ((1, 0), (0, 1))
    )
    edges = _evenly(reach_nm + pinhole_nm, min(shortest_nm / RINGS_A_WAVE, pinhole_nm / 4))
    rings = CubicSpline(spot_radii, spot, axis=1)((edges[1:] + edges[:-1]) / 2)
    covered = np.diff(_overlap(radii[:, None], edges, pinhole_nm), axis=1)
    detected = covered @ rings.T
    return RectBivariateSpline(radii, heights, detected / detected[0, 0])


def _evenly(most: float, pitch: float) -> Floats:
    return np.linspace(0, most, int(np.ceil(most / pitch)) + 1)


def _overlap(distance: Floats, first: Floats, second: float) -> Floats:
    """The area that two disks share, their radii and the distance of their centers given; all broadcast."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first_angle = (distance**2 + first**2 - second**2) / (2 * distance * first)
        second_angle = (distance**2 + second**2 - first**2) / (2 * distance * second)
        kite = (first + second - distance) * (distance + first - second)
        kite = kite * (distance - first + second) * (distance + first + second)
        lens = (
            first**2 * np.arccos(first_angle) + second**2 * np.arccos(second_angle) - np.sqrt(np.maximum(kite, 0)) / 2
        )
    smaller = np.pi * np.minimum(first, second) ** 2
    within = distance <= np.abs(first - second)
    return np.where(within, smaller, np.where(distance >= first + second, 0.0, lens))
