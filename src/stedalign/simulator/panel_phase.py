"""What the gray levels on the panel do to the light in each cell of the simulated pupil."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from stedalign.instrument.protocols import Levels
from stedalign.instrument.slm_mask import SlmGeometry, grating_waves, to_panel
from stedalign.simulator.lens import CartesianLens

PROBES_PER_CELL = 4
"""Places along a pupil cell where the panel is looked up, for cells that several pixels share."""


class PanelPhase:
    """The panel as the pupil sees it: each pixel is a flat square of phase.

    ``cells_per_pixel`` are the lens's cells along a pixel, ``mask_shift`` the mask's offset in pupil radii and
    ``crosstalk_px`` the standard deviation, in pixels, of a Gaussian blur of the gray levels: the field between a
    pixel's electrodes reaches into its neighbors, most harmfully where the levels jump by a wave.
    """

    def __init__(
        self,
        lens: CartesianLens,
        geometry: SlmGeometry,
        cells_per_pixel: int,
        mask_shift: tuple[float, float],
        crosstalk_px: float = 0.0,
    ) -> None:
        width = 1 / (geometry.pupil_radius_px * cells_per_pixel)
        steps = ((np.arange(PROBES_PER_CELL) + 0.5) / PROBES_PER_CELL - 0.5) * width
        along_x, along_y = (step.reshape(-1, 1, 1) for step in np.meshgrid(steps, steps))
        columns, rows = to_panel(geometry, lens.x + along_x - mask_shift[0], lens.y + along_y - mask_shift[1])
        row = np.clip(np.rint(rows), 0, geometry.rows - 1).astype(np.intp)
        column = np.clip(np.rint(columns), 0, geometry.columns - 1).astype(np.intp)
        self._window = np.s_[row.min() : row.max() + 1, column.min() : column.max() + 1]
        self._pixel = row - row.min(), column - column.min()
        self._crosstalk_px = crosstalk_px
        self._levels_per_2pi = geometry.levels_per_2pi
        # The optics stand in the grating's first order, so its carrier is no aberration.
        self._carrier_waves = grating_waves(
            geometry,
            np.arange(column.min(), column.max() + 1.0),
            np.arange(row.min(), row.max() + 1.0)[:, None],
        )

    def factor(self, levels: Levels | NDArray[np.float64]) -> NDArray[np.complex128]:
        """The complex factor (N, N) on the light in each cell: the mean over its probes."""
        if self._crosstalk_px:
            levels = gaussian_filter(levels.astype(np.float64), self._crosstalk_px, mode="nearest")
        waves = levels[self._window] / self._levels_per_2pi - self._carrier_waves
        return np.asarray(np.exp(2j * np.pi * waves)[self._pixel].mean(axis=0))
