"""The detector, read off what an image holds beyond the band limit."""

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stedalign.imaging.detector import Detector
from stedalign.imaging.photon_transfer import Band, Reading, band_sequences, read_detector

LIMITS = 1.4, 1.1
"""Of foci at 60 nm, in rad per pixel, and more than these have."""
NAMES = "gain", "baseline", "read_noise"


def read(image, **known):
    return weighed(image, np.ones_like(image), 1.9, **known)


def weighed(image, weight, limit, **known):
    return read_detector(
        list(image), list(weight), [Band(image.shape[1:], (limit, limit))] * len(image), Detector(**known)
    )


def recorded(light, gain=1.0, baseline=0.0, noise=0.0, seed=0):
    generator = np.random.default_rng(seed)
    return gain * generator.poisson(light) + baseline + generator.normal(size=light.shape) * noise


def expected_variance(reading, counts):
    """In counts squared, of pixels of so many expected ``counts``."""
    return reading.gain * (counts - reading.baseline) + reading.read_noise**2


@pytest.fixture(scope="module")
def light(foci):
    return 350 * foci(4)


@pytest.mark.parametrize("shape", [(20,), (14, 17), (8, 9, 10)])
def test_noise_leaves_beyond_the_band_what_it_is_expected_to(shape):
    generator = np.random.default_rng(0)
    band = Band(shape, (1.4, 1.1, 0.9)[: len(shape)])
    variance = generator.uniform(0.1, 5.0, shape)
    draws = 4000
    left = np.zeros(shape)
    for _ in range(draws):
        noise = generator.normal(size=shape) * np.sqrt(variance)
        left += np.square(noise - band.within(noise)) / draws
    np.testing.assert_allclose(left, band.noise_beyond(variance), rtol=6 * np.sqrt(2 / draws))


def test_even_noise_leaves_as_much_as_there_are_numbers_beyond_the_band():
    band = Band((14, 17), LIMITS)
    within = [basis.shape[1] for basis in band.bases]
    assert band.noise_beyond(np.ones((14, 17))).sum() == pytest.approx(14 * 17 - within[0] * within[1])


@pytest.mark.parametrize(("count", "limit"), [(8, 0.3), (33, 1.0), (64, 2.5), (200, 0.2)])
def test_a_signal_below_the_limit_leaves_nothing_beyond_the_band(count, limit):
    generator = np.random.default_rng(0)
    frequencies = generator.uniform(-limit, limit, 40)
    waves = np.cos(np.outer(np.arange(count), frequencies) + generator.uniform(0, 2 * np.pi, 40))
    signal = waves @ generator.normal(size=40)
    beyond = signal - Band((count,), (limit,)).within(signal)
    assert np.square(beyond).sum() < 1e-3 * np.square(signal).sum()


def test_the_sequences_of_a_band_are_orthonormal_and_hold_all_beyond_nyquist():
    basis = band_sequences(40, 1.0)
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    assert basis.shape[1] == pytest.approx(40 / np.pi, abs=8)
    assert band_sequences(40, 3.2).shape == (40, 40)


@pytest.mark.parametrize("gain", [0.05, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("baseline", [0.0, 100.0, 1000.0])
def test_gain_and_baseline_of_counted_photons_are_found(light, gain, baseline):
    readings = [read(recorded(image, gain, baseline, seed=seed)) for seed, image in enumerate(light)]
    assert np.mean([reading.gain for reading in readings]) == pytest.approx(gain, rel=0.1)
    # A hundredth of the crest.
    assert np.mean([reading.baseline for reading in readings]) == pytest.approx(baseline, abs=0.01 * 350 * gain)


@pytest.mark.parametrize(
    ("gain", "baseline", "noise"),
    [
        (1.0, -20.0, 8.0),
        (3.0, -100.0, 0.0),
        (20.0, 1000.0, 90.0),
        (1.0, 534.0, 17.5),
        (0.5, 0.0, 500.0),
        (1.0, 9.0, 60.0),
    ],
)
def test_the_variance_of_bright_and_dark_pixels_is_found_whatever_makes_it(light, gain, baseline, noise):
    readings = [read(recorded(image, gain, baseline, noise, seed)) for seed, image in enumerate(light)]
    for photons in (7.0, 350.0):
        found = np.mean([expected_variance(reading, gain * photons + baseline) for reading in readings])
        assert found == pytest.approx(gain**2 * photons + noise**2, rel=0.15)


def test_the_noise_of_an_analog_detector_is_found(light):
    assert read(recorded(light[0], 0.01, 534.0, 1.8)).read_noise == pytest.approx(1.8, rel=0.05)


def test_the_mean_of_frames_holds_photons_of_a_fraction_of_a_count(light):
    assert read(recorded(light[0] * 16) / 16).gain == pytest.approx(1 / 16, rel=0.15)


def test_light_is_not_negative_over_a_baseline_below_zero(light):
    image = recorded(light[0], 3.0, -100.0)
    assert np.quantile(read(image).photons(image), 0.2) > -2


@pytest.mark.parametrize("photons", [50.0, 350.0, 3000.0])
def test_counted_photons_are_taken_for_such(foci, photons):
    readings = [read(recorded(photons * image, seed=seed)) for seed, image in enumerate(foci(30))]
    assert sum((reading.gain, reading.baseline) == (1.0, 0.0) for reading in readings) >= 26


@pytest.mark.parametrize("known", list(product([False, True], repeat=3)))
def test_what_is_known_is_kept_and_the_rest_is_measured(light, known):
    truth = dict(zip(NAMES, (3.0, 100.0, 30.0), strict=True))
    given = {name: value for (name, value), is_known in zip(truth.items(), known, strict=True) if is_known}
    readings = [read(recorded(image, *truth.values(), seed), **given) for seed, image in enumerate(light)]
    for reading in readings:
        assert set(reading.measured) == truth.keys() - given.keys()
        # Some noise is always assumed.
        for name, value in given.items():
            assert getattr(reading, name) == pytest.approx(value, rel=1e-3 if name == "read_noise" else 0)
    found = np.mean([expected_variance(reading, 3 * 350 + 100) for reading in readings])
    assert found == pytest.approx(9 * 350 + 900, rel=0.1)
    if len(given) > 1:
        for name in truth.keys() - given.keys():
            mean = np.mean([getattr(reading, name) for reading in readings])
            assert mean == pytest.approx(truth[name], rel=0.15)


@pytest.mark.parametrize("limit", [3.1, 3.2, 5.0])
def test_pixels_as_wide_as_the_finest_detail_say_nothing(light, limit):
    image = recorded(light[0], 3.0, 100.0)
    reading = weighed(image, np.ones_like(image), limit)
    assert (reading.gain, reading.baseline, reading.measured) == (1.0, 0.0, ())


@pytest.mark.parametrize("size", [8, 9, 10, 12])
def test_images_of_few_pixels_are_read_or_taken_for_counted_photons(light, size):
    reading = read(recorded(light[0][:, 10 : 10 + size, 10 : 10 + size], 3.0, 100.0))
    assert reading.gain > 0
    assert np.isfinite([reading.gain, reading.baseline, reading.read_noise]).all()


def test_pixels_without_weight_say_nothing(light):
    image, weight = recorded(light[0], 3.0), np.ones_like(light[0])
    spoiled = image.copy()
    spoiled[:, 3], weight[:, 3] = image[:, 4], 0
    assert weighed(spoiled, weight, 1.9).gain == pytest.approx(3.0, rel=0.2)
    assert weighed(spoiled, np.zeros_like(image), 1.9).measured == ()


def test_a_volume_tells_its_detector_too(light):
    volume = recorded(np.stack([light[0][0]] * 12), 2.0, 50.0)
    reading = read_detector([volume], [np.ones_like(volume)], [Band(volume.shape, (1.9, 1.9, 1.9))], Detector())
    assert reading.gain == pytest.approx(2.0, rel=0.1)
    assert reading.baseline == pytest.approx(50.0, abs=7)


@given(st.floats(-18, 14), st.floats(0, 1000))
@example(-0.4771, 0.0)
def test_photons_do_not_hang_on_the_unit_of_the_counts(light, decades, baseline):
    image = recorded(light[0], 3.0, baseline)
    plain, scaled = read(image), read(image * 10**decades)
    if scaled.gain == 1.0:
        # In a unit in which they may be photons, counts are taken for those, which is no farther off than chance.
        assert 10**decades * plain.gain == pytest.approx(1.0, rel=0.15)
        return
    np.testing.assert_allclose(scaled.photons(image * 10**decades), plain.photons(image), rtol=1e-6, atol=1e-6)
    assert scaled.extra == pytest.approx(plain.extra, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e12])
def test_an_image_without_noise_has_hardly_any(light, scale):
    reading = read(light[0] * scale)
    variance = expected_variance(reading, light[0].max() * scale)
    assert 0 < variance < (1e-3 * np.ptp(light[0]) * scale) ** 2


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 32, 32)),
        np.full((3, 32, 32), 7.0),
        np.full((3, 32, 32), -7e14),
        np.broadcast_to(np.arange(32.0), (3, 32, 32)),
        np.indices((3, 32, 32)).sum(0) % 2 * 1000.0,
        np.eye(1024)[500].reshape(1, 32, 32).repeat(3, 0),
        np.random.default_rng(0).normal(size=(3, 32, 32)) * 5 - 100,
        np.random.default_rng(0).poisson(0.1, size=(3, 32, 32)) * 1.0,
    ],
    ids=["zero", "constant", "negative", "ramp", "chess board", "one pixel", "normal noise", "few photons"],
)
@pytest.mark.parametrize("known", [{}, {"gain": 1.0}, {"baseline": 7.0, "read_noise": 0.0}, {"read_noise": 1.0}])
def test_any_image_is_read_as_something(image, known):
    reading = read(image, **known)
    assert reading.gain > 0
    assert np.isfinite([reading.gain, reading.baseline, reading.read_noise]).all()


def test_counts_and_photons_are_each_others_inverse():
    reading = Reading(3.0, 100.0, 6.0, ())
    assert reading.photons(np.array([100.0, 400.0])).tolist() == [0.0, 100.0]
    np.testing.assert_allclose(reading.counts(reading.photons(np.arange(9.0))), np.arange(9.0))
    assert reading.extra == 4.0
