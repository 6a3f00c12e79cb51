"""Promises of the simulated microscope's blur."""

from __future__ import annotations

import numpy as np
import pytest

from stedalign.simulator.vibration import blurred_axis, blurred_point

HIGHEST = 0.0227
AXIS = 1000 + 31.25 * np.arange(20.0)


def transfer(rule, samples_nm, frequency):
    """What the rule makes of a wave, over the wave at the samples."""
    return rule.weights @ np.exp(1j * frequency * rule.points_nm) / np.exp(1j * frequency * samples_nm)


@pytest.mark.parametrize("sigma_nm", [0.5, 25.0, 100.0])
@pytest.mark.parametrize("samples_nm", [AXIS, 20 * AXIS, AXIS / 20])
def test_every_wave_of_the_band_is_damped_as_a_gaussian_says(sigma_nm, samples_nm):
    rule = blurred_axis(samples_nm, sigma_nm, HIGHEST)
    for frequency in np.linspace(-HIGHEST, HIGHEST, 101):
        assert np.abs(transfer(rule, samples_nm, frequency) - np.exp(-((sigma_nm * frequency) ** 2) / 2)).max() < 2e-5


@pytest.mark.parametrize("sigma_nm", [0.0, 0.5, 25.0, 100.0])
def test_a_single_sample_is_blurred_the_same_way(sigma_nm):
    rule = blurred_point(sigma_nm, HIGHEST)
    for frequency in np.linspace(-HIGHEST, HIGHEST, 101):
        assert transfer(rule, 0.0, frequency) == pytest.approx(np.exp(-((sigma_nm * frequency) ** 2) / 2), abs=2e-5)


def test_without_blur_the_samples_are_what_is_seen():
    rule = blurred_axis(AXIS, 0.0, HIGHEST)
    assert np.array_equal(rule.points_nm, AXIS)
    assert np.array_equal(rule.weights, np.eye(len(AXIS)))


def test_samples_finer_than_the_band_needs_are_seen_from_fewer_points():
    fine = np.arange(200.0) * 5
    assert len(blurred_axis(fine, 50.0, HIGHEST).points_nm) < 40


@pytest.mark.parametrize("rule", [blurred_point, lambda *band: blurred_axis(AXIS[:2], *band)])
def test_a_blur_far_beyond_the_band_is_refused(rule):
    with pytest.raises(ValueError, match=r"^a blur of 5000\.0 nm is too wide for the simulated microscope$"):
        rule(5000.0, HIGHEST)
