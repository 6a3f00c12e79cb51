"""The finest detail that a focus can show, and pixels that are too wide for it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.optics.objective import Objective
from stedalign.optics.targets import AXES

Floats = NDArray[np.float64]
COARSEST = 2.0
"""How many times wider than Nyquist's pixels may be: then a focus is as wide as one of them."""


def bandwidth(objective: Objective, direction: Floats, wavelength_nm: float) -> float:
    """Highest spatial frequency of the intensity along a unit vector, rad per nm.

    It is the largest difference of two wave vectors of the lens, which fill a cone around z.
    """
    alpha, beta = np.arcsin(objective.sine), np.arccos(np.clip(direction[2], -1, 1))
    most, least = np.cos(max(0.0, beta - alpha)), np.cos(min(np.pi, beta + alpha))
    return objective.wavenumber(wavelength_nm) * float(most - least)


def finest_pixel_nm(objective: Objective, direction: Floats, wavelength_nm: float) -> float:
    """The widest pixels along a unit vector that show all detail of a focus (Nyquist)."""
    return float(np.pi / bandwidth(objective, direction, wavelength_nm))


def check_pixels_show(objective: Objective, wavelength_nm: float, sizes_nm: Mapping[str, float]) -> None:
    """Raise ``InputError`` for pixels along "x", "y" or "z" that show nothing of a focus."""
    for axis, size in sizes_nm.items():
        most = COARSEST * finest_pixel_nm(objective, AXES[axis], wavelength_nm)
        if size > most:
            raise InputError(
                f"pixels of {size:g} nm along {axis} show nothing of a focus of {wavelength_nm:g} nm light at "
                f"NA {objective.na:g}, for which {most / COARSEST:.0f} nm are enough and {most:.0f} nm the most"
            )


def warn_of_coarse_pixels(objective: Objective, direction: Floats, wavelength_nm: float, pixel_nm: float) -> None:
    """Warn of pixels that are too wide to show all detail of a focus along ``direction``."""
    finest = finest_pixel_nm(objective, direction, wavelength_nm)
    if pixel_nm > finest:
        along = " ".join(f"{component:.2g}" for component in direction)
        warnings.warn(
            f"pixels of {pixel_nm:.0f} nm along ({along}) are wider than the {finest:.0f} nm (Nyquist) that show all "
            "detail of this focus",
            stacklevel=2,
        )
