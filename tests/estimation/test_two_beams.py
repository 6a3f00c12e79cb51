"""Promises of the estimate of both beams of one scan, on the independent simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stedalign.config import Setup
from stedalign.errors import InputError
from stedalign.estimation.estimator import Estimator
from stedalign.estimation.two_beams import estimate_two_beams
from stedalign.optics.wavefront import Wavefront
from stedalign.simulator.hidden import HiddenExcitation, HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build

APART_NM = (25.0, -40.0, 90.0)
SETUP = Setup()


def wavefront(seed, peak_waves):
    peaks = np.random.default_rng(seed).normal(scale=peak_waves, size=len(SETUP.modes))
    return Wavefront.from_peak_waves(SETUP.modes, peaks)


@pytest.fixture(scope="module")
def hidden():
    return HiddenWorld(
        aberration=wavefront(1, 0.05),
        bead_nm=(10.0, 20.0, -30.0),
        drift_nm=15.0,
        blur_nm=15.0,
        pixel_error=(0.01, 0.01, -0.15),
        excitation=HiddenExcitation(aberration=wavefront(2, 0.03), displacement_nm=APART_NM),
    )


@pytest.fixture(scope="module")
def images(hidden):
    microscope = build(Instrument.of(SETUP), hidden, 4)
    microscope.shutter.open()
    return microscope.source.acquire(), microscope.excitation.acquire()


@pytest.fixture(scope="module")
def estimators():
    forwards = (SETUP.forward, SETUP.forward.model_copy(update={"beam": SETUP.excitation}))
    return [Estimator(forward, SETUP.modes) for forward in forwards]


@pytest.fixture(scope="module")
def both(estimators, images):
    return estimate_two_beams(*estimators, images)


def test_the_foci_lie_apart_as_they_do_within_the_error_bars(both):
    errors = np.subtract(both.overlay.foci_apart_nm, APART_NM)
    assert np.abs(errors / both.overlay.foci_apart_sigma_nm).max() < 3.5
    # Drift between the sections moves both alike: it must not come in.
    assert max(both.overlay.foci_apart_sigma_nm[:2]) < 1.5
    assert both.overlay.foci_apart_sigma_nm[2] < 5


def test_both_wavefronts_are_told_within_their_error_bars(both, hidden):
    for estimate, truth in ((both.depletion, hidden.aberration), (both.excitation, hidden.excitation.aberration)):
        scores = (estimate.wavefront.array - truth.array) / estimate.sigma_waves
        assert np.sqrt(np.square(scores).mean()) < 2


def test_what_belongs_to_the_scan_is_one_number_and_surer_than_from_either(both, estimators, images):
    alone = [estimator(image) for estimator, image in zip(estimators, images, strict=True)]
    value, sigma = both.depletion.nuisances["pixel_error_z"]
    assert both.excitation.nuisances["pixel_error_z"] == pytest.approx((value, sigma), rel=1e-6)
    assert sigma <= min(estimate.nuisances["pixel_error_z"][1] for estimate in alone)
    assert value == pytest.approx(-0.15, abs=4 * sigma)


def test_the_corrected_zero_lies_at_the_focus_of_the_depletion_beam(both):
    # Without its wavefront and with a centered beam the darkest point is the focus itself.
    after, apart = both.overlay.after_correction_nm, both.overlay.foci_apart_nm
    spot_moves = np.subtract(both.overlay.spot_minus_zero_nm, after)
    assert np.isfinite(spot_moves).all()
    np.testing.assert_allclose(after[:2], apart[:2], atol=20)


def test_the_centering_moves_the_zero_to_the_spot(both):
    na, wavelength = SETUP.objective.na, SETUP.depletion.wavelength_nm
    tip, tilt, _ = both.overlay.centering.waves
    x, y, _ = both.overlay.after_correction_nm
    np.testing.assert_allclose([tilt, tip], [-x * na / (2 * wavelength), -y * na / (2 * wavelength)])


def test_images_of_other_pixels_are_of_another_scan(estimators, images):
    other = replace(images[1], pixel_nm=(30.0, 30.0, 30.0))
    with pytest.raises(InputError, match="come from one scan, but their pixel sizes differ"):
        estimate_two_beams(*estimators, (images[0], other))
