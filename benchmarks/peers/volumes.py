"""What a peer simulates for foreign.py; imported by the volumes_*.py scripts inside the peers' environments.

The instrument is that of ``measure``, its pupil a matched vortex or flat, with the aberrations that are asked for.
Needs numpy and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import factorial
from pathlib import Path

import numpy as np
from measure import Engine, Floats, edge_factor


@dataclass(frozen=True)
class Request:
    """What the volumes are to show."""

    modes: list[tuple[int, int]]
    """(n, m), m < 0 for the sine."""
    vortex: bool
    """Without it the pupil is flat."""
    half_nm: tuple[float, float]
    """From the middle to the outermost samples, laterally and axially."""
    samples: tuple[int, int]
    """Across that, laterally and axially."""
    threads: int

    def lateral_nm(self) -> Floats:
        return np.linspace(-1, 1, self.samples[0]) * self.half_nm[0]

    def axial_nm(self) -> Floats:
        return np.linspace(-1, 1, self.samples[1]) * self.half_nm[1]


@cache
def radial(n: int, m: int) -> list[tuple[int, float]]:
    """Powers of the radius and their factors, of an orthonormal Zernike polynomial (Noll 1976, eq. 2)."""
    order, factor = abs(m), edge_factor(n, m)
    return [
        (
            n - 2 * k,
            factor
            * (-1) ** k
            * factorial(n - k)
            / (factorial(k) * factorial((n + order) // 2 - k) * factorial((n - order) // 2 - k)),
        )
        for k in range((n - order) // 2 + 1)
    ]


def wavefront(modes: list[tuple[int, int]], waves: Floats, radius: Floats | float, azimuth: Floats | float) -> Floats:
    """The wavefront in waves at points of the unit disk, for peers without all of the modes."""
    total = 0.0 * radius
    for (n, m), value in zip(modes, waves, strict=True):
        if value:
            angular = np.sin(-m * azimuth) if m < 0 else np.cos(m * azimuth)
            total = total + value * angular * sum(factor * radius**power for power, factor in radial(n, m))
    return total


def main(build: Callable[[Request], Engine]) -> None:
    """Simulate what the .npz file on the command line asks for, one volume for each of its rows of ``waves``."""
    parser = argparse.ArgumentParser(description="Simulates volumes of a focus.")
    parser.add_argument("request", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with np.load(given.request) as asked:
        modes = [(int(n), int(m)) for n, m in asked["modes"]]
        half_nm, samples = tuple(asked["half_nm"].tolist()), tuple(asked["samples"].tolist())
        engine = build(Request(modes, bool(asked["vortex"]), half_nm, samples, given.threads))
        volumes = np.stack([engine.volume(waves) for waves in asked["waves"]]).astype(np.float32)
    np.savez(given.out, volumes=volumes, **dict(zip("xyz", engine.positions_nm, strict=True)))
