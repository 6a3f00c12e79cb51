"""The bead in the simulated microscope: a quadrature over a ball, nested so that slices share their work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_chebyu, roots_jacobi, roots_legendre

from stedalign.errors import InputError

Floats = NDArray[np.float64]

TOLERANCE = 1e-4
MAX_ORDER = 40


@dataclass(frozen=True, eq=False)
class BallRule:
    """Nodes of a ball in slices (first axis), rows in a slice (second), points in a row (third), in nm."""

    first: Floats
    """Offsets of the slices, shape (order,)."""
    second: Floats
    """Offsets of each slice's rows, shape (order, order)."""
    third: Floats
    """Offsets of each row's points, shape (order, order, order)."""
    weight: Floats
    """Weights, shape (order, order, order), sum 1."""

    def mapped(self, lower: Floats) -> BallRule:
        """The rule for the ellipsoid that a lower triangular map (3, 3) of (slice, row, point) makes of the ball."""
        slices, rows = self.first[:, None, None], self.second[:, :, None]
        return BallRule(
            first=lower[0, 0] * self.first,
            second=lower[1, 0] * self.first[:, None] + lower[1, 1] * self.second,
            third=lower[2, 0] * slices + lower[2, 1] * rows + lower[2, 2] * self.third,
            weight=self.weight,
        )


def gauss_ball(radius_nm: float, order: int) -> BallRule:
    """The product of three Gauss rules that averages polynomials of degree 2 order - 1 over a ball exactly.

    A slice at t holds the area 1 - t^2 and a row at v in it the length (1 - v^2)^(1/2), which are the weights
    of the Jacobi and Chebyshev rules (Stroud 1971, section 2.6, the nested product for the ball).
    """
    t, t_weight = (np.asarray(part) for part in roots_jacobi(order, 1, 1))
    v, v_weight = (np.asarray(part) for part in roots_chebyu(order))
    u, u_weight = (np.asarray(part) for part in roots_legendre(order))
    disk = np.sqrt(1 - t**2)
    chord = disk[:, None] * np.sqrt(1 - v**2)
    weight = t_weight[:, None, None] * v_weight[:, None] * u_weight
    return BallRule(
        first=radius_nm * t,
        second=radius_nm * disk[:, None] * v,
        third=radius_nm * chord[:, :, None] * u,
        weight=weight / weight.sum(),
    )


POINT = gauss_ball(0.0, 1)


def ball_rule(diameter_nm: float, highest_frequency: float) -> BallRule:
    """The smallest rule good to 1e-4 of the crest for intensities with frequencies up to some rad per nm.

    The average of exp(i q.s) over a ball is 3 (sin qR - qR cos qR) / (qR)^3; a rule passes when it gives that
    at the highest frequency along the axes and the diagonals. Raises ``InputError`` for a bead too large.
    """
    radius = diameter_nm / 2
    q = highest_frequency * radius
    if q < 1e-3:
        return POINT
    exact = 3 * (np.sin(q) - q * np.cos(q)) / q**3
    directions = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)], dtype=float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for order in range(2, MAX_ORDER):
        rule = gauss_ball(radius, order)
        along = [rule.first[:, None, None] * a + rule.second[:, :, None] * b + rule.third * c for a, b, c in directions]
        averages = [float((rule.weight * np.cos(highest_frequency * offset)).sum()) for offset in along]
        if np.abs(np.array(averages) - exact).max() < TOLERANCE:
            return rule
    raise InputError(f"a bead of {diameter_nm} nm is too large for the simulated microscope")
