"""The finest detail that a focus can show, and pixels that are too wide for it."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from stedalign.optics.objective import Objective

Floats = NDArray[np.float64]


def bandwidth(objective: Objective, direction: Floats, wavelength_nm: float) -> float:
    """Highest spatial frequency of the intensity along a unit vector, rad per nm.

    It is the largest difference of two wave vectors of the lens, which fill a cone around z.
    """
    alpha, beta = np.arcsin(objective.sine), np.arccos(np.clip(direction[2], -1, 1))
    most, least = np.cos(max(0.0, beta - alpha)), np.cos(min(np.pi, beta + alpha))
    return objective.wavenumber(wavelength_nm) * float(most - least)


def warn_of_coarse_pixels(objective: Objective, direction: Floats, wavelength_nm: float, pixel_nm: float) -> None:
    """Warn of pixels that are too wide to show all detail of a focus along ``direction``."""
    finest = np.pi / bandwidth(objective, direction, wavelength_nm)
    if pixel_nm > finest:
        along = " ".join(f"{component:.2g}" for component in direction)
        warnings.warn(
            f"pixels of {pixel_nm:.0f} nm along ({along}) are wider than the {finest:.0f} nm (Nyquist) that show all "
            "detail of this focus",
            stacklevel=2,
        )
