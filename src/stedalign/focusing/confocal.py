"""How much of the light of a point a confocal pinhole lets through (``detection_efficiency``)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Complex, Float
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import jv

from stedalign.optics.objective import Objective

Floats = NDArray[np.float64]
STEPS = 40
"""Of the radial grid, in each wavelength / NA: what lies between follows by cubic splines, to about 1e-5."""
ARC_NODES = 128


def detection_efficiency(
    objective: Objective,
    wavelength_nm: float,
    radii_nm: Float[Floats, " pinholes"],
    rho_nm: Float[Floats, " rho"],
    z_nm: Float[Floats, " z"],
) -> Float[Floats, "pinholes rho z"]:
    """Light of points at distances ``rho_nm`` from the axis and ``z_nm`` behind the focus over that of one in it.

    The detection's point spread function around the point, summed over the disk of the pinhole, ``radii_nm`` as seen in
    the sample (Wilson and Sheppard 1984), here circle by circle around the point, of which an arc lies in the disk. The
    objective is unaberrated but for its sample's index (Hell et al. 1993).
    """
    step = wavelength_nm / objective.na / STEPS
    circles = np.arange(0.0, radii_nm.max() + rho_nm.max() + 2 * step, step)
    spread = CubicSpline(circles, 2 * circles[:, None] * point_spread(objective, wavelength_nm, circles, z_nm))
    enclosed = spread.antiderivative()
    focal = CubicSpline(circles, 2 * circles * point_spread(objective, wavelength_nm, circles, np.zeros(1))[:, 0])
    node, weight = np.polynomial.legendre.leggauss(ARC_NODES)
    # Arcs begin and end with infinite slopes, which the sine takes away.
    angle = np.pi / 2 * node
    share, weight = np.sin(angle), np.pi / 2 * weight * np.cos(angle)
    efficiencies = []
    for radius in radii_nm:
        whole = np.maximum(radius - rho_nm, 0.0)
        middle, half = np.maximum(radius, rho_nm)[:, None], np.minimum(radius, rho_nm)[:, None]
        circle = middle + half * share
        across = np.maximum(2 * circle * rho_nm[:, None], 1e-9)
        arc = np.arccos(np.clip((circle**2 + rho_nm[:, None] ** 2 - radius**2) / across, -1.0, 1.0))
        light = np.pi * enclosed(whole) + np.einsum("rs,rsz->rz", half * weight * arc, spread(circle))
        efficiencies.append(light / (np.pi * focal.integrate(0.0, radius)))
    return np.stack(efficiencies)


def point_spread(
    objective: Objective, wavelength_nm: float, rho_nm: Float[Floats, " rho"], z_nm: Float[Floats, " z"]
) -> Float[Floats, "rho z"]:
    """The intensity of unpolarized light that fills the pupil evenly, from the integrals I0, I1 and I2 of Richards and
    Wolf (1959)."""
    alpha, wavenumber = float(np.arcsin(objective.sine)), objective.wavenumber(wavelength_nm)
    turns = wavenumber * (rho_nm.max() * objective.sine + np.abs(z_nm).max())
    node, weight = np.polynomial.legendre.leggauss(100 + math.ceil(turns))
    theta = alpha / 2 * (node + 1)
    sine, cosine = np.sin(theta), np.cos(theta)
    damping, path = objective.mismatch(sine, wavelength_nm)
    waves: Complex[np.ndarray, "waves z"] = np.exp(1j * (wavenumber * np.outer(cosine, z_nm) + path[:, None]))
    waves *= (weight * sine * objective.amplitude(cosine) * damping)[:, None]
    total = np.zeros((len(rho_nm), len(z_nm)))
    for order, part in enumerate((1 + cosine, np.sqrt(2) * sine, 1 - cosine)):
        bessel = jv(order, wavenumber * np.outer(rho_nm, sine))
        total += np.abs((bessel * part) @ waves) ** 2
    return total
