"""An image as a fit wants it."""

import numpy as np
import pytest

from stedalign.estimation.recording import record
from stedalign.imaging.detector import Detector

KNOWN = Detector(gain=3.0, baseline=100.0, read_noise=6.0)


@pytest.fixture(scope="module")
def photons(draw):
    return draw(1, strength=0.03, seed=3)[1][0].numpy()


def test_a_known_detector_turns_counts_into_photons(spec, photons, as_sections):
    recording = record(as_sections(photons * 3 + 100), spec, KNOWN)
    np.testing.assert_allclose(recording.observed.counts[0], photons, atol=1e-9)
    np.testing.assert_allclose(recording.observed.extra, 4.0, rtol=0.02)
    assert (recording.observed.weight == 1).all()


def test_a_measured_detector_turns_them_into_about_as_many(spec, photons, as_sections):
    recording = record(as_sections(photons * 3 + 100), spec, Detector())
    assert np.ptp(recording.observed.counts.numpy()) == pytest.approx(np.ptp(photons), rel=0.2)


def test_flawed_pixels_have_no_weight_and_do_not_spoil_the_reading(spec, photons, as_sections):
    image = as_sections(photons)
    spoiled = photons.copy()
    spoiled[1, :2], spoiled[2, 20, 20] = 5000, 9000
    recording = record(as_sections(spoiled), spec, Detector())
    assert recording.observed.weight[0, 1, :2].sum() == 0
    assert recording.observed.weight[0, 2, 20, 20] == 0
    assert float(recording.observed.weight.sum()) == image.data.size - 2 * 32 - 1
    assert recording.image.data.max() < 1000
    assert recording.reading.gain == 1
    assert len(recording.flaws.messages) == 2


def test_the_image_keeps_what_is_known_of_it(spec, photons, as_sections):
    image = record(as_sections(photons, saturation=900.0, simulated=True), spec, Detector()).image
    assert (image.saturation, image.simulated, image.pixel_nm) == (900.0, True, (60.0, 60.0, 60.0))
