"""Figures of merit of an image and of a focus."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage, optimize

from stedalign.imaging.forward import ForwardModel
from stedalign.optics.wavefront import Wavefront

Floats = NDArray[np.float64]
SEARCHED_HOLLOWS = 3
"""Dark places on a coarse lattice from which the darkest point is looked for."""


def correlation(first: Float[Floats, "*shape"], second: Float[Floats, "*shape"]) -> float:
    """Pearson correlation of all pixels of two images of one shape; nan where one of them is constant."""
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
    phase = 2 * np.pi * model.modes.polynomials(pupil.x, pupil.y) @ wavefront.on(model.modes).array
    waves = pupil.amplitude * np.exp(1j * phase)

    def intensity(*axes_nm: Floats) -> Floats:
        """On the lattice of positions along x, y, z: shape (z, x, y)."""
        x, y, z = (np.exp(1j * place[:, None] * k) for place, k in zip(axes_nm, pupil.k.T, strict=True))
        fields = (z[:, None, None] * waves[:, None] * x) @ y.T
        return np.asarray((fields.real**2 + fields.imag**2).sum(axis=1))

    resolution = beam.wavelength_nm / model.spec.objective.na
    around = np.linspace(-1, 1, 31) * 1.2 * resolution
    crest = intensity(around, around, np.zeros(1)).max()

    inside = np.array([0.25, 0.25, 0.6]) * resolution
    steps = np.linspace(-1, 1, 9)
    lattice = intensity(*(inside[:, None] * steps))
    hollows = np.argwhere(lattice == ndimage.minimum_filter(lattice, size=3, mode="nearest"))
    starts = sorted(hollows, key=lambda place: lattice[tuple(place)])[:SEARCHED_HOLLOWS]

    def at(point: Floats) -> tuple[float, Floats]:
        """Over the crest, with its gradient."""
        wave = waves * np.exp(1j * pupil.k @ (point * inside))
        field, slope = wave.sum(axis=1), 1j * wave @ pupil.k
        gradient = 2 * (field.conj() @ slope).real * inside
        return float((np.abs(field) ** 2).sum() / crest), gradient / crest

    minima = [
        optimize.minimize(at, steps[[x, y, z]], jac=True, bounds=[(-1, 1)] * 3, method="L-BFGS-B", tol=1e-9)
        for z, x, y in starts
    ]
    return min(float(end.fun) for end in minima)


def crest_uniformity(section: Float[Floats, "y x"]) -> float:
    """Lowest over highest crest around the donut in an xy image (N, N), background subtracted: 1 is a ring.

    The crest in each of 72 directions is the maximum along a ray from the center of mass. 0 where nothing stands out.
    """
    signal = np.clip(section - np.quantile(section, 0.1), 0, None)
    if not signal.any():
        return 0.0
    center = ndimage.center_of_mass(np.where(signal > 0.2 * signal.max(), signal, 0))
    radius = np.arange(0, min(section.shape) / 2, 0.5)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)[:, None]
    rows, columns = center[0] + radius * np.sin(angle), center[1] + radius * np.cos(angle)
    crest = ndimage.map_coordinates(signal, [rows, columns], order=1, mode="nearest").max(axis=1)
    return float(crest.min() / crest.max())
