"""Promises of the simulated scan's axes."""

from __future__ import annotations

import numpy as np
import pytest

from stedalign.simulator.scan import ScanAxis

HIGHEST = 0.0227
SAMPLES_NM = np.linspace(-700, 650, 40)


@pytest.mark.parametrize("frequency", [0.3 * HIGHEST, HIGHEST])
@pytest.mark.parametrize("blur_nm", [0.0, 20.0])
def test_lines_are_displaced_blurred_and_keep_their_shape(frequency, blur_nm):
    axis = ScanAxis(SAMPLES_NM, 50.0, blur_nm, HIGHEST)
    moves = np.random.default_rng(1).uniform(-50, 50, size=(4, 5))
    seen = np.broadcast_to(axis.weights @ np.cos(frequency * axis.points_nm + 0.4), (4, 5, len(axis.weights)))
    expected = np.cos(frequency * (SAMPLES_NM - moves[..., None]) + 0.4) * np.exp(-((blur_nm * frequency) ** 2) / 2)
    assert np.allclose(axis.displaced(seen, moves), expected, rtol=0, atol=5e-5)


def test_one_displacement_moves_all_lines_and_none_beyond_the_reach():
    axis = ScanAxis(SAMPLES_NM, 10.0, 0.0, HIGHEST)
    seen = np.stack([np.cos(0.01 * axis.points_nm), np.sin(0.01 * axis.points_nm)])
    assert np.array_equal(axis.displaced(seen, 10.0), axis.displaced(seen, np.array([10.0, 99.0])))


def test_without_reach_and_blur_the_samples_are_what_is_seen():
    axis = ScanAxis(SAMPLES_NM, 0.0, 0.0, HIGHEST)
    assert np.array_equal(axis.points_nm, SAMPLES_NM)
    assert axis.displaced(SAMPLES_NM, 5.0) is SAMPLES_NM
