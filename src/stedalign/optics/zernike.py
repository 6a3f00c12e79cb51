"""Zernike modes: identity, index conversions and orthonormal polynomials.

A mode is (n, m); m >= 0 is the cosine, m < 0 the sine, phi counts from +x to +y, and each polynomial has
rms 1 on the unit disk. Sources: Thibos et al. 2002 (the OSA/ANSI standard) for the index j = (n(n+2)+m)/2
and the normalization; Noll 1976, Table I, for the other numbering.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stedalign.errors import InputError
from stedalign.optics.arrays import Array

HIGHEST_ORDER = 30
"""Largest radial order: beyond it a mode turns faster than a sensible grid of the pupil resolves."""

NAMES = {
    (0, 0): "piston",
    (1, -1): "tilt y",
    (1, 1): "tilt x",
    (2, -2): "oblique astigmatism",
    (2, 0): "defocus",
    (2, 2): "vertical astigmatism",
    (3, -3): "vertical trefoil",
    (3, -1): "vertical coma",
    (3, 1): "horizontal coma",
    (3, 3): "oblique trefoil",
    (4, -4): "oblique quadrafoil",
    (4, -2): "oblique secondary astigmatism",
    (4, 0): "spherical",
    (4, 2): "vertical secondary astigmatism",
    (4, 4): "vertical quadrafoil",
}


@dataclass(frozen=True, order=True)
class Mode:
    """The identity of a Zernike mode: radial order ``n`` and azimuthal order ``m``.

    Raises ``InputError`` unless n lies from 0 to 30, abs(m) <= n and n - m is even.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        n, m = self.n, self.m
        if not (type(n) is type(m) is int) or n < 0 or abs(m) > n or (n - m) % 2:
            raise InputError(f"({n}, {m}) is not a Zernike mode: n >= 0, |m| <= n and n - m even")
        if n > HIGHEST_ORDER:
            raise InputError(f"mode ({n}, {m}): the radial order n must lie between 0 and {HIGHEST_ORDER}")

    @classmethod
    def from_ansi(cls, ansi: int) -> Mode:
        """The mode with the OSA/ANSI number ``ansi``, which counts from 0."""
        if type(ansi) is not int or ansi < 0:
            raise InputError(f"ANSI numbers count from 0, got {ansi}")
        n = (math.isqrt(8 * ansi + 1) - 1) // 2
        return cls(n, 2 * ansi - n * (n + 2))

    @classmethod
    def from_noll(cls, noll: int) -> Mode:
        """The mode with the Noll number ``noll``, which counts from 1."""
        if type(noll) is not int or noll < 1:
            raise InputError(f"Noll numbers count from 1, got {noll}")
        n = (math.isqrt(8 * noll - 7) - 1) // 2
        position = noll - n * (n + 1) // 2 - 1
        magnitude = 2 * ((position + 1) // 2) if n % 2 == 0 else 2 * (position // 2) + 1
        return cls(n, magnitude if noll % 2 == 0 else -magnitude)

    @property
    def ansi(self) -> int:
        return (self.n * (self.n + 2) + self.m) // 2

    @property
    def noll(self) -> int:
        n, m = self.n, abs(self.m)
        first = n * (n + 1) // 2 + m
        if m == 0:
            return first + 1
        # Within a pair of equal |m| Noll gives the even number to the cosine.
        return first + (first + (0 if self.m > 0 else 1)) % 2

    @property
    def norm(self) -> float:
        """The value at the edge: peak of the orthonormal polynomial, and peak waves per rms wave inverted."""
        return math.sqrt(self.n + 1 if self.m == 0 else 2 * (self.n + 1))

    @property
    def name(self) -> str:
        return NAMES.get((self.n, self.m), f"Z({self.n}, {self.m})")

    def polynomial(self, x: Array, y: Array) -> Array:
        """Orthonormal Zernike polynomial at the points (x, y), in pupil radii; any shape, numpy or torch.

        Written in x and y with a three-term recurrence (Jacobi polynomials P_k^(0,|m|), Born and Wolf
        section 9.2), so it has no special point at the center and stays exact at high orders.
        """
        m = abs(self.m)
        one = x * 0.0 + 1.0
        cosine, sine = one, one * 0.0
        for _ in range(m):
            cosine, sine = x * cosine - y * sine, x * sine + y * cosine
        angular = sine if self.m < 0 else cosine
        return angular * _jacobi((self.n - m) // 2, m, (x * x + y * y) * 2.0 - 1.0) * self.norm


def _jacobi(degree: int, beta: int, t: Array) -> Array:
    """Jacobi polynomial P_degree^(0, beta)(t) by its recurrence (Abramowitz and Stegun 22.7.1)."""
    previous = t * 0.0 + 1.0
    if degree == 0:
        return previous
    current = (t * (beta + 2.0) - float(beta)) * 0.5
    for k in range(2, degree + 1):
        c = 2 * k + beta
        a1 = 2 * k * (k + beta) * (c - 2)
        linear = (t * float((c - 1) * c * (c - 2)) - float((c - 1) * beta**2)) * (1.0 / a1)
        previous, current = current, linear * current - previous * (2 * (k - 1) * (k + beta - 1) * c / a1)
    return current
