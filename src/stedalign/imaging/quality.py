"""Figures of merit of a picture and of a focus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from stedalign.imaging.forward import ForwardModel
from stedalign.optics.wavefront import Wavefront

Floats = NDArray[np.float64]


def correlation(first: Floats, second: Floats) -> float:
    """Pearson correlation of all pixels of two pictures of one shape; nan where one of them is constant."""
    a, b = first - first.mean(), second - second.mean()
    size = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / size) if size > 0 else float("nan")


def null_ratio(model: ForwardModel, wavefront: Wavefront) -> float:
    """Darkest point inside the donut over the crest's maximum, for the beam itself (no bead, no noise).

    The darkest point is searched in three dimensions around the nominal focus, since astigmatism splits the
    zero and coma and tilt move it. nan for a pattern without a zero.
    """
    beam, pupil = model.spec.beam, model.focus.pupil
    if not beam.pattern.has_zero:
        return float("nan")
    waves = wavefront.on(model.modes).array
    phase = 2 * np.pi * model.modes.polynomials(pupil.x, pupil.y) @ waves

    def intensity(points_nm: Floats) -> Floats:
        return pupil.intensity(points_nm.reshape(-1, 3), phase)

    resolution = beam.wavelength_nm / model.spec.objective.na
    around = np.linspace(-1, 1, 31) * 1.2 * resolution
    plane = np.stack(np.meshgrid(around, around, [0.0]), axis=-1).reshape(-1, 3)
    crest = intensity(plane).max()

    inside = np.array([0.25, 0.25, 0.6]) * resolution
    steps = np.linspace(-1, 1, 9)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) * inside
    start = lattice[intensity(lattice).argmin()]
    found = optimize.minimize(
        lambda point: float(intensity(point * inside)[0] / crest),
        start / inside,
        bounds=[(-1, 1)] * 3,
        method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-7},
    )
    return float(found.fun)


def crest_uniformity(section: Floats) -> float:
    """Lowest over highest crest around the donut in an xy picture (N, N), background subtracted: 1 is a ring.

    The crest in each of 72 directions is the maximum along a ray from the center of mass.
    """
    signal = np.clip(section - np.quantile(section, 0.1), 0, None)
    center = ndimage.center_of_mass(np.where(signal > 0.2 * signal.max(), signal, 0))
    radius = np.arange(0, min(section.shape) / 2, 0.5)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)[:, None]
    rows, columns = center[0] + radius * np.sin(angle), center[1] + radius * np.cos(angle)
    crest = ndimage.map_coordinates(signal, [rows, columns], order=1, mode="nearest").max(axis=1)
    return float(crest.min() / crest.max())
