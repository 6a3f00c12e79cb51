"""One axis of the simulated scan: from where to look, and how its samples follow, blurred and displaced."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_interp_spline

from stedalign.simulator.vibration import blurred_axis

Floats = NDArray[np.float64]

POINTS_A_WAVE = 12
"""Of the shortest wave of the intensity, between which lines are interpolated."""
DEGREE = 5


class ScanAxis:
    """An axis whose samples may be displaced by up to ``reach_nm``, apart for each line.

    The points lie close enough to each other to see the band; without displacements and blur they are the samples.
    Raises ``InputError`` for a blur too wide.
    """

    def __init__(self, samples_nm: Floats, reach_nm: float, blur_nm: float, highest_frequency: float) -> None:
        self.samples_nm = samples_nm
        """Where the samples are told to lie, shape (samples,)."""
        self._seen_nm = samples_nm
        if reach_nm:
            pitch = 2 * np.pi / highest_frequency / POINTS_A_WAVE
            # The splines' ends are not as good as their middle.
            first, last = samples_nm.min() - reach_nm - 6 * pitch, samples_nm.max() + reach_nm + 6 * pitch
            self._seen_nm = np.linspace(first, last, int(np.ceil((last - first) / pitch)) + 1)
        self._reach_nm = reach_nm
        rule = blurred_axis(self._seen_nm, blur_nm, highest_frequency)
        self.points_nm = rule.points_nm
        """From where to look, shape (points,)."""
        self.weights = rule.weights
        """Of the points in what is seen, shape (seen, points): the samples, or what lies around them more finely."""

    def displaced(self, seen: Floats, displacement_nm: Floats | float) -> Floats:
        """The samples of lines of which (..., seen) was seen, shape (..., samples).

        Each line is moved along itself by its displacement, which broadcasts with (...), at most by the reach.
        """
        if not self._reach_nm:
            return seen
        moves = np.broadcast_to(np.clip(displacement_nm, -self._reach_nm, self._reach_nm), seen.shape[:-1])
        spline = make_interp_spline(self._seen_nm, seen, k=DEGREE, axis=-1)
        samples = np.empty((*seen.shape[:-1], len(self.samples_nm)))
        for line in np.ndindex(moves.shape):
            one = BSpline(spline.t, spline.c[(slice(None), *line)], DEGREE)
            samples[line] = one(self.samples_nm - moves[line])
        return samples
