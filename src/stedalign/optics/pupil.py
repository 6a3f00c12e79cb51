"""Quadrature over the pupil: which plane waves make the focus, and with which amplitudes.

The focal field is the vectorial Debye integral (Richards and Wolf 1959, eqs. 2.18 and 2.26; Leutenegger et al.
2006, eq. 9) over the spherical cap,

    E(r) = integral of A exp(i mask) exp(2 pi i W) P(theta, phi) J exp(i k.r) dOmega,

with the amplitude A (fill x apodization), the Jones vector J and the lens's rotation P. A rule that is Gauss-Legendre
along each ray and trapezoidal around the mask's core converges spectrally, since between core, ring and pupil edge
the integrand is analytic; a Cartesian pupil with its hard edge does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stedalign.optics.beam import Beam, Objective

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


@dataclass(frozen=True)
class Pupil:
    """Plane waves (J of them) that sum to the focal field of one beam behind one objective."""

    x: Floats
    """Pupil coordinates in pupil radii, shape (J,)."""
    y: Floats
    k: Floats
    """Wave vectors in rad per nm, shape (J, 3), along x, y, z."""
    amplitude: Complexes
    """Weight x amplitude x mask phase x polarization of each wave, shape (3, J)."""
    power: float
    """Integral over the solid angle of the squared field of the plane waves (that of J is 1): the beam's power."""

    def field(self, points_nm: Floats, phase_rad: Floats | None = None) -> Complexes:
        """Focal field by direct summation at points (P, 3) in nm: shape (3, P).

        ``phase_rad`` (J,) is added to the pupil's phase.
        """
        waves = self.amplitude if phase_rad is None else self.amplitude * np.exp(1j * phase_rad)
        kernel: Complexes = np.exp(1j * (self.k @ points_nm.T))
        return waves @ kernel


def sample_pupil(objective: Objective, beam: Beam, radial: int, azimuthal: int) -> Pupil:
    """Nodes on ``azimuthal`` rays from the core of the beam's mask, ``radial`` of them in each panel.

    Panels end where the mask's phase steps and at the edges of stop and pupil. Rays are straight in the plane of
    q = sin(theta) / sin(alpha), the unit disk. Along one that passes its center at the distance h,
    cos(theta) = A cos(psi) with A^2 = 1 - (h sin(alpha))^2 and A sin(psi) = sin(alpha) u, u counted from the foot of
    h. In psi the integrand stays smooth up to the edge however high the NA, and dOmega = sin(alpha) t dpsi dphi with t
    the distance from the core; with a centered mask this is sin(theta) dtheta dphi.
    """
    pattern, sine = beam.pattern, objective.sine
    offset_x, offset_y = pattern.mask_offset
    offset = np.hypot(offset_x, offset_y)
    stretch_core = float(objective.ray_sine(np.array(offset))) / sine / offset if offset else 1.0
    core_x, core_y = stretch_core * offset_x, stretch_core * offset_y

    phi, phi_weight = _azimuths(azimuthal, pattern.edge_rad)
    foot = core_x * np.cos(phi) + core_y * np.sin(phi)
    height_squared = core_x**2 + core_y**2 - foot**2
    axis_cosine = np.sqrt(1 - sine**2 * height_squared)

    def psi_at(distance: Floats) -> Floats:
        return np.arcsin(np.clip(sine * (foot + distance) / axis_cosine, -1, 1))

    def reach(radius: float) -> Floats:
        """Distance from the core at which rays leave the disk of ``radius`` around the pupil's center."""
        disk = float(objective.ray_sine(np.array(radius))) / sine
        return np.sqrt(np.clip(disk**2 - height_squared, 0, None)) - foot

    edge = np.sqrt(1 - height_squared) - foot
    breaks = [reach(beam.stop_radius) if beam.stop_radius else np.zeros_like(edge)]
    if pattern.ring is not None:
        ring = _ring_distance(objective, (offset_x, offset_y), (core_x, core_y), pattern.ring, phi)
        breaks.append(np.clip(ring, breaks[0], edge))
    breaks.append(edge)

    node, gauss_weight = np.polynomial.legendre.leggauss(radial)
    rays, weights = [], []
    for inner, outer in pairwise(breaks):
        start, half = psi_at(inner), (psi_at(outer) - psi_at(inner)) / 2
        rays.append(start + half * (node + 1))
        weights.append(half * gauss_weight * phi_weight)
    psi = np.concatenate(rays, axis=1)
    distance = axis_cosine * np.sin(psi) / sine - foot
    weight = (sine * distance * np.concatenate(weights, axis=1)).ravel()

    q_x, q_y = (core_x + distance * np.cos(phi)).ravel(), (core_y + distance * np.sin(phi)).ravel()
    cosine = (axis_cosine * np.cos(psi)).ravel()
    # Panels that the pupil's edge cuts off have no width; their nodes would only cost time.
    lit = weight > 0
    q_x, q_y, cosine, weight = q_x[lit], q_y[lit], cosine[lit], weight[lit]
    x, y = _pupil_point(objective, q_x, q_y)
    direction = np.stack([sine * q_x, sine * q_y, cosine], axis=-1)
    scalar = weight * objective.apodization(cosine) * beam.envelope(x, y) * np.exp(1j * pattern.phase(x, y))
    scalar = scalar * objective.mismatch(sine * np.hypot(q_x, q_y), beam.wavelength_nm)
    amplitude = scalar * refracted(direction, beam.polarization.field(x, y))
    return Pupil(
        x=x,
        y=y,
        k=objective.wavenumber(beam.wavelength_nm) * direction,
        amplitude=amplitude,
        power=float(((np.abs(amplitude) ** 2).sum(axis=0) / weight).sum()),
    )


def refracted(direction: Floats, jones: Complexes) -> Complexes:
    """The field (3, J) of Jones vectors (2, J) after the lens has turned them towards ``direction`` (J, 3).

    The lens keeps the azimuthal component and turns the radial one by theta (Richards and Wolf 1959,
    eq. 2.23): E = J - [ (1 - cos theta) (e_rho.J) e_rho + sin theta (e_rho.J) e_z ].
    """
    x, y, z = direction.T
    radial = x * jones[0] + y * jones[1]
    # (1 - cos) / sin^2 = 1 / (1 + cos), so the axis needs no special case.
    bend = radial / (1 + z)
    return np.stack([jones[0] - x * bend, jones[1] - y * bend, -radial])


def _azimuths(count: int, edge_rad: float | None) -> tuple[Floats, Floats]:
    """Directions (count, 1) and their weights: trapezoid, or Gauss-Legendre on both sides of a straight edge."""
    if edge_rad is None:
        return 2 * np.pi * np.arange(count)[:, None] / count, np.full((count, 1), 2 * np.pi / count)
    node, weight = np.polynomial.legendre.leggauss(count // 2)
    half = np.pi / 2 * (node + 1)
    phi = edge_rad + np.concatenate([half, half + np.pi])
    return phi[:, None], np.pi / 2 * np.concatenate([weight, weight])[:, None]


def _pupil_point(objective: Objective, q_x: Floats, q_y: Floats) -> tuple[Floats, Floats]:
    """Pupil coordinates (pupil radii) of the directions q = sin(theta) / sin(alpha)."""
    if objective.mapping == "sine":
        return q_x, q_y
    q = np.hypot(q_x, q_y)
    stretch = objective.pupil_radius(objective.sine * q) / q
    return q_x * stretch, q_y * stretch


def _ring_distance(
    objective: Objective, offset: tuple[float, float], core: tuple[float, float], radius: float, phi: Floats
) -> Floats:
    """Distance (azimuths, 1) from the core, in the plane of q, at which rays cross the mask's ring.

    The ring is a circle in the pupil, and so in the plane of q when the mapping is the sine. Otherwise it is found
    by bisection, since along a ray the distance from the core grows in both planes.
    """
    if objective.mapping == "sine":
        return np.full_like(phi, radius)
    low, high = np.zeros_like(phi), np.full_like(phi, 2.0)
    for _ in range(60):
        middle = (low + high) / 2
        q_x, q_y = core[0] + middle * np.cos(phi), core[1] + middle * np.sin(phi)
        inside = np.hypot(q_x, q_y) <= 1
        scale = np.where(inside, 1.0, np.hypot(q_x, q_y))
        x, y = _pupil_point(objective, q_x / scale, q_y / scale)
        beyond = ~inside | (np.hypot(x - offset[0], y - offset[1]) > radius)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return low
