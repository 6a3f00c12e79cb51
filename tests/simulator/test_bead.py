"""Promises of the bead's quadrature."""

from __future__ import annotations

import numpy as np
import pytest

from stedalign.optics.objective import Objective
from stedalign.simulator.bead import POINT, ball_rule, gauss_ball
from stedalign.simulator.lens import CartesianLens

LENS = CartesianLens(Objective(), 775.0, 20.0)


@pytest.mark.parametrize("diameter_nm", [40.0, 80.0, 150.0, 500.0])
def test_a_wave_is_averaged_as_the_ball_s_fourier_transform_says(diameter_nm):
    rule = ball_rule(diameter_nm, LENS.highest_frequency)
    generator = np.random.default_rng(0)
    for q in generator.normal(size=(200, 3)):
        q *= generator.uniform(0, LENS.highest_frequency) / np.linalg.norm(q)
        phase = q[0] * rule.first[:, None, None] + q[1] * rule.second[:, :, None] + q[2] * rule.third
        reach = np.linalg.norm(q) * diameter_nm / 2
        exact = 3 * (np.sin(reach) - reach * np.cos(reach)) / reach**3
        assert abs((rule.weight * np.cos(phase)).sum() - exact) < 3e-4


def test_moments_of_the_ball_are_exact():
    rule = gauss_ball(2.0, 3)
    squares = [rule.first[:, None, None] ** 2, rule.second[:, :, None] ** 2, rule.third**2]
    assert np.allclose([(rule.weight * square).sum() for square in squares], 4 / 5)


def test_no_bead_is_one_point():
    assert ball_rule(0.0, LENS.highest_frequency) is POINT
    assert POINT.weight.sum() == 1


def test_the_cells_areas_add_up_to_the_disk():
    assert LENS.area.sum() == pytest.approx(np.pi, rel=1e-12)
    assert LENS.area.min() == 0
    assert np.allclose(LENS.area, LENS.area[::-1].T, rtol=0, atol=1e-15)
