"""The slow reference: dense quadrature of the vectorial Debye integral, written from the textbook formulas."""

import numpy as np

from stedalign.optics.beam import Beam, Objective
from stedalign.optics.wavefront import Wavefront


def dense_intensity(
    objective: Objective,
    beam: Beam,
    wavefronts: list[Wavefront],
    points_nm: np.ndarray,
    polar: int = 100,
    around: int = 150,
) -> np.ndarray:
    """Intensity (wavefronts, points) by Gauss-Legendre in theta times trapezoid in phi, float64.

    The polarization matrix stands as printed by Richards and Wolf (1959) and Novotny and Hecht (eq. 3.44), not in the
    compact form of the library.
    """
    alpha = np.arcsin(objective.na / objective.immersion_index)
    node, weight = np.polynomial.legendre.leggauss(polar)
    theta, phi = np.meshgrid(alpha * (node + 1) / 2, 2 * np.pi * (np.arange(around) + 0.5) / around, indexing="ij")
    solid_angle = (alpha / 2 * weight)[:, None] * np.sin(theta) * 2 * np.pi / around
    s, c, cp, sp = np.sin(theta), np.cos(theta), np.cos(phi), np.sin(phi)
    jx, jy = beam.polarization.jones
    ex = (1 + (c - 1) * cp**2) * jx + (c - 1) * cp * sp * jy
    ey = (c - 1) * cp * sp * jx + (1 + (c - 1) * sp**2) * jy
    ez = -s * cp * jx - s * sp * jy
    rho = s / np.sin(alpha)
    x, y = rho * cp, rho * sp
    amplitude = solid_angle * np.sqrt(c) * np.exp(-(rho**2) / beam.fill**2)
    if beam.pattern.kind == "vortex":
        amplitude = amplitude * np.exp(1j * beam.pattern.charge * phi)
    k = 2 * np.pi * objective.immersion_index / beam.wavelength_nm
    kernel = np.exp(1j * k * (np.stack([s * cp, s * sp, c], axis=-1).reshape(-1, 3) @ points_nm.T))
    result = []
    for wavefront in wavefronts:
        phase = 2 * np.pi * wavefront.modes.polynomials(x, y) @ wavefront.array
        pupil = np.stack([ex, ey, ez]) * amplitude * np.exp(1j * phase)
        result.append((np.abs(pupil.reshape(3, -1) @ kernel) ** 2).sum(axis=0))
    return np.array(result)
