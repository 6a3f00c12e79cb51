"""A thin layer of another index before the focus, as a phase that is linear in its thickness (``layer_phase``)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from stedalign.focusing.wave_grid import WaveGrid
from stedalign.optics.objective import Objective

Floats = NDArray[np.float64]


def layer_phase(objective: Objective, grid: WaveGrid, wavelength_nm: float) -> Float[Floats, " waves"]:
    """``Objective.layer_phase`` of the grid's waves (J,), less what only moves the image along z.

    That is the piston and multiple of kz that fit it best over the pupil (least squares, each wave with the power that
    an even light gives it): spherical aberration is left, and the shift keeps its meaning.
    """
    direction = grid.direction
    phase = objective.layer_phase(np.hypot(direction[:, 0], direction[:, 1]), wavelength_nm)
    moving = np.stack([np.ones(len(direction)), direction[:, 2]], axis=1)
    amplitude = np.sqrt(grid.area) * objective.amplitude(direction[:, 2])
    coefficients = np.linalg.lstsq(amplitude[:, None] * moving, amplitude * phase, rcond=None)[0]
    return np.asarray(phase - moving @ coefficients)
