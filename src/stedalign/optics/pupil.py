"""Quadrature over the aplanatic pupil: which plane waves make the focus, and with which amplitudes.

The focal field is the vectorial Debye integral (Richards and Wolf 1959, eqs. 2.18 and 2.26; Leutenegger et al.
2006, eq. 9) over the spherical cap,

    E(r) = integral of A(rho) sqrt(cos theta) exp(i mask) exp(2 pi i W) P(theta, phi) J exp(i k.r) dOmega,

with the Jones vector J and the lens's rotation P. A rule that is Gauss-Legendre along each ray and trapezoidal
around the mask's core converges spectrally, since between core and pupil edge the integrand is analytic; a
Cartesian pupil with its hard edge does not.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    def field(self, points_nm: Floats, phase_rad: Floats | None = None) -> Complexes:
        """Focal field by direct summation at points (P, 3) in nm: shape (3, P).

        ``phase_rad`` (J,) is added to the pupil's phase.
        """
        waves = self.amplitude if phase_rad is None else self.amplitude * np.exp(1j * phase_rad)
        kernel: Complexes = np.exp(1j * (self.k @ points_nm.T))
        return waves @ kernel


def sample_pupil(objective: Objective, beam: Beam, radial: int, azimuthal: int) -> Pupil:
    """Nodes on ``azimuthal`` rays from the core of the beam's mask, ``radial`` of them on each.

    Along a ray that passes the pupil's center at the distance h, cos(theta) = A cos(psi) with
    A^2 = 1 - (sin(alpha) h)^2 and A sin(psi) = sin(alpha) u, u counted from the foot of h. In psi the
    integrand stays smooth up to the edge however high the NA, and dOmega = sin(alpha) t dpsi dphi with t the
    distance from the core; with a centered mask this is sin(theta) dtheta dphi.
    """
    core_x, core_y = beam.pattern.mask_offset
    sine = objective.sine
    phi = 2 * np.pi * np.arange(azimuthal)[:, None] / azimuthal
    start = core_x * np.cos(phi) + core_y * np.sin(phi)
    height_squared = core_x**2 + core_y**2 - start**2
    stretch = np.sqrt(1 - sine**2 * height_squared)
    psi_core = np.arcsin(sine * start / stretch)
    psi_edge = np.arcsin(sine * np.sqrt(1 - height_squared) / stretch)
    node, gauss_weight = np.polynomial.legendre.leggauss(radial)
    half = (psi_edge - psi_core) / 2
    psi = psi_core + half * (node + 1)
    distance = stretch * np.sin(psi) / sine - start
    weight = (sine * distance * half * gauss_weight * (2 * np.pi / azimuthal)).ravel()

    x = (core_x + distance * np.cos(phi)).ravel()
    y = (core_y + distance * np.sin(phi)).ravel()
    cos_theta = (stretch * np.cos(psi)).ravel()
    direction = np.stack([sine * x, sine * y, cos_theta], axis=-1)
    rho_squared = x**2 + y**2
    amplitude = weight * np.sqrt(cos_theta) * np.exp(-rho_squared / beam.fill**2)
    mask = np.exp(1j * beam.pattern.phase(x, y))
    return Pupil(
        x=x,
        y=y,
        k=objective.wavenumber(beam.wavelength_nm) * direction,
        amplitude=amplitude * mask * refracted(direction, beam.polarization.jones),
    )


def refracted(direction: Floats, jones: Complexes) -> Complexes:
    """The field (3, J) of a Jones vector (2,) after the lens has turned it towards ``direction`` (J, 3).

    The lens keeps the azimuthal component and turns the radial one by theta (Richards and Wolf 1959,
    eq. 2.23): E = J - [ (1 - cos theta) (e_rho.J) e_rho + sin theta (e_rho.J) e_z ].
    """
    x, y, z = direction.T
    radial = x * jones[0] + y * jones[1]
    # (1 - cos) / sin^2 = 1 / (1 + cos), so the axis needs no special case.
    bend = radial / (1 + z)
    return np.stack([jones[0] - x * bend, jones[1] - y * bend, -radial])
