"""The slow reference: dense quadrature of the vectorial Debye integral, written from the textbook formulas."""

from itertools import pairwise

import numpy as np

from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Pattern
from stedalign.optics.wavefront import Wavefront


def dense_intensity(
    objective: Objective,
    beam: Beam,
    wavefronts: list[Wavefront],
    points_nm: np.ndarray,
    polar: int = 100,
    around: int = 150,
) -> np.ndarray:
    """Intensity (wavefronts, points) by direct summation of ``dense_waves``."""
    x, y, k, amplitude = dense_waves(objective, beam, polar, around)
    kernel = np.exp(1j * (k @ points_nm.T))
    result = []
    for wavefront in wavefronts:
        phase = 2 * np.pi * wavefront.modes.polynomials(x, y) @ wavefront.array
        result.append((np.abs((amplitude * np.exp(1j * phase)) @ kernel) ** 2).sum(axis=0))
    return np.array(result)


def dense_waves(objective: Objective, beam: Beam, polar: int = 100, around: int = 150) -> tuple[np.ndarray, ...]:
    """Places x, y in the pupil (J,), wave vectors (J, 3) and amplitudes (3, J) of many plane waves.

    The integral runs over the area of the pupil, not over the solid angle. The polarization matrix stands as printed
    by Richards and Wolf (1959) and Novotny and Hecht (eq. 3.44), not in the compact form of the library.
    """
    x, y, area = pupil_rule(beam.pattern, polar, around)
    theta, height, squeeze = angle_of(objective, np.hypot(x, y))
    phi = np.arctan2(y, x)
    s, c, cp, sp = np.sin(theta), np.cos(theta), np.cos(phi), np.sin(phi)
    jx, jy = (real + 1j * imag for real, imag in beam.polarization.field(x, y))
    ex = (1 + (c - 1) * cp**2) * jx + (c - 1) * cp * sp * jy
    ey = (c - 1) * cp * sp * jx + (1 + (c - 1) * sp**2) * jy
    ez = -s * cp * jx - s * sp * jy
    from_center = (x - beam.fill_center[0]) ** 2 + (y - beam.fill_center[1]) ** 2
    lens = {"energy": squeeze**-0.5, "sqrt_cosine": np.sqrt(c), "uniform": 1.0}[objective.apodization]
    amplitude = height**2 * area * squeeze * lens * np.exp(-from_center / beam.fill**2)
    k = 2 * np.pi * objective.immersion_index / beam.wavelength_nm
    mask = np.exp(1j * mask_phase(beam.pattern, x, y))
    return x, y, k * np.stack([s * cp, s * sp, c], axis=-1), np.stack([ex, ey, ez]) * amplitude * mask


def pupil_rule(pattern: Pattern, polar: int, around: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places x, y in the pupil and their areas (J,), with no node's neighborhood across a step of the mask's phase.

    ``polar`` nodes along each stretch of a ray from the core, and ``around`` rays: a trapezoid, or Gauss-Legendre
    between the directions at which the mask's edge lies or its ring leaves the pupil.
    """
    cx, cy = pattern.core
    shift = np.hypot(cx, cy)
    has_ring = pattern.kind in ("top_hat", "bivortex")
    corners = []
    # By name, not by what the pattern says of its own steps, which is what is tested.
    if pattern.kind == "half_moon" or pattern.kind.endswith(":Cross"):
        lines = 1 if pattern.kind == "half_moon" else 2
        turn = np.pi / lines
        corners = [np.deg2rad(pattern.mask_rotation_deg) + np.pi / 2 + turn * number for number in range(2 * lines)]
    if has_ring:
        ring = pattern.ring_radius * pattern.mask_scale
        if 1 - shift < ring < 1 + shift:
            opening = np.arccos((1 - ring**2 - shift**2) / (2 * ring * shift))
            corners = [np.arctan2(cy, cx) + side for side in (-opening, opening)]
    if corners:
        corners = [*sorted(corners), min(corners) + 2 * np.pi]
        pieces = [gauss(a, b, around) for a, b in pairwise(corners)]
        phi, turn = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    else:
        phi, turn = 2 * np.pi * (np.arange(around) + 0.5) / around, np.full(around, 2 * np.pi / around)
    along = cx * np.cos(phi) + cy * np.sin(phi)
    edge = np.sqrt(1 - shift**2 + along**2) - along
    ends = [0 * edge, np.minimum(ring, edge), edge] if has_ring else [0 * edge, edge]
    stretches = [gauss(a[:, None], b[:, None], polar) for a, b in pairwise(ends)]
    t, length = (np.concatenate(parts, axis=1) for parts in zip(*stretches, strict=True))
    x, y = cx + t * np.cos(phi)[:, None], cy + t * np.sin(phi)[:, None]
    return x.ravel(), y.ravel(), (t * length * turn[:, None]).ravel()


def gauss(start, end, count):
    """Nodes and weights of Gauss-Legendre between ``start`` and ``end``, along the last axis."""
    node, weight = np.polynomial.legendre.leggauss(count)
    return start + (end - start) / 2 * (node + 1), (end - start) / 2 * weight


def mask_phase(pattern: Pattern, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    u, v = x - pattern.core[0], y - pattern.core[1]
    if pattern.kind == "vortex":
        return pattern.charge * np.arctan2(v, u)
    if pattern.kind in ("top_hat", "bivortex"):
        inside = 2 * np.pi * pattern.step_waves * (np.hypot(u, v) < pattern.ring_radius * pattern.mask_scale)
        return inside + (pattern.charge * np.arctan2(v, u) if pattern.kind == "bivortex" else 0)
    if pattern.kind == "flat":
        return 0 * x
    azimuth = np.arctan2(v, u) - np.deg2rad(pattern.mask_rotation_deg)
    side = np.cos(azimuth) if pattern.kind == "half_moon" else np.sin(2 * azimuth)
    return 2 * np.pi * pattern.step_waves * (side < 0)


def angle_of(objective: Objective, radius: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The angle of rays through the pupil at ``radius``, the pupil's height over f, and solid angle over area there."""
    alpha = np.arcsin(objective.na / objective.immersion_index)
    if objective.mapping == "sine":
        theta = np.arcsin(radius * np.sin(alpha))
        return theta, np.sin(alpha), 1 / np.cos(theta)
    if objective.mapping == "herschel":
        height = 2 * np.sin(alpha / 2)
        return 2 * np.arcsin(radius * height / 2), height, np.ones_like(radius)
    if objective.mapping == "uniform":
        return radius * alpha, alpha, np.sin(radius * alpha) / (radius * alpha)
    theta = np.arctan(radius * np.tan(alpha))
    return theta, np.tan(alpha), np.cos(theta) ** 3
