"""Measures faser; a setting is its number of pupil nodes, theta x phi: ``31x31``."""

from __future__ import annotations

import numpy as np
from faser.generators.base import PSFConfig, mode
from faser.generators.vectorial.stephane import generate_psf
from measure import INDEX, NA, SAMPLES, STEP_NM, WAVELENGTH_NM, Engine, Floats, main

MODES = {
    "a1": (1, -1),
    "a2": (1, 1),
    "a3": (2, -2),
    "a4": (2, 0),
    "a5": (2, 2),
    "a6": (3, -3),
    "a7": (3, -1),
    "a8": (3, 1),
    "a9": (3, 3),
    "a12": (4, 0),
    "a24": (6, 0),
}
"""All it has but piston: orthonormal, in rad."""


def build(setting: str, threads: int) -> Engine:
    """The engine; ``threads`` reaches faser through the environment."""
    theta, phi = map(int, setting.split("x"))
    positions = (np.arange(SAMPLES) - (SAMPLES - 1) / 2) * STEP_NM
    fixed = {
        "NA": NA,
        "n1": INDEX,
        "n2": INDEX,
        "n3": INDEX,
        "Wavelength": WAVELENGTH_NM / 1000,
        # Half widths from the middle to the centers of the outermost samples.
        "L_obs_XY": positions[-1] / 1000,
        "L_obs_Z": positions[-1] / 1000,
        "Nxy": SAMPLES,
        "Nz": SAMPLES,
        "Ntheta": theta,
        "Nphi": phi,
        "Mode": mode.DONUT,
        # Its beam is a Gaussian of at most 25 mm; a focal length (um) far below that makes the fill uniform to 1e-6.
        "WD": 25.0,
        "Waist": 24999.0,
    }

    def volume(waves: Floats) -> Floats:
        rad = dict(zip(MODES, (2 * np.pi * waves).tolist(), strict=True))
        return generate_psf(PSFConfig(**fixed, **rad)).transpose(2, 1, 0)

    return Engine(volume, (positions, positions, positions))


if __name__ == "__main__":
    main("faser", list(MODES.values()), build)
