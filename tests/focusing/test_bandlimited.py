import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stedalign.focusing.bandlimited import interpolation, samples_needed, sampling_points

bandwidths = st.floats(0.3, 120)
tolerances = st.floats(-8, -2).map(lambda digits: 10.0**digits)
PLACES, SHARES = np.polynomial.legendre.leggauss(300)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(150)
FREQUENCIES = (NODES + 1) / 2
SPECTRUM = 3 / 2 * WEIGHTS * (1 - FREQUENCIES) ** 2
"""A focus's spectrum falls towards its cutoff."""


def mean_square(values):
    """Over the interval, of values (places, ...)."""
    return np.tensordot(SHARES / 2, np.abs(values) ** 2, axes=1)


def waves(bandwidth, places, frequencies):
    return np.exp(1j * bandwidth * np.outer(places, frequencies))


@given(bandwidths, tolerances)
def test_waves_up_to_the_edge_of_the_band_meet_the_tolerance_in_the_mean(bandwidth, tolerance):
    count = samples_needed(bandwidth, tolerance)
    samples = waves(bandwidth, sampling_points(bandwidth, count)[0], FREQUENCIES)
    error = interpolation(bandwidth, count, PLACES) @ samples - waves(bandwidth, PLACES, FREQUENCIES)
    assert np.sqrt(mean_square(error) @ SPECTRUM) < tolerance


@given(bandwidths, tolerances, st.integers(0, 1000))
def test_random_intensities_meet_the_tolerance_in_the_mean(bandwidth, tolerance, seed):
    # |field|^2 of fields that fill half of the band: what a focus is.
    generator = np.random.default_rng(seed)
    frequencies = generator.uniform(-0.5, 0.5, 40)
    amplitudes = generator.normal(size=(40, 30)) + 1j * generator.normal(size=(40, 30))
    count = samples_needed(bandwidth, tolerance)
    points, _ = sampling_points(bandwidth, count)
    known, wanted = (np.abs(waves(bandwidth, x, frequencies) @ amplitudes) ** 2 for x in (points, PLACES))
    error = mean_square(interpolation(bandwidth, count, PLACES) @ known - wanted)
    assert np.sqrt(error.sum() / mean_square(wanted).sum()) < tolerance


@given(bandwidths, tolerances)
def test_a_constant_stays_a_constant(bandwidth, tolerance):
    weights = interpolation(bandwidth, samples_needed(bandwidth, tolerance), PLACES)
    assert np.sqrt(mean_square(weights.sum(axis=1) - 1)) < tolerance


@given(bandwidths, st.integers(1, 40))
def test_sampling_points_are_as_many_as_asked_and_mirror_images_inside_the_interval(bandwidth, half):
    count = 2 * int(bandwidth / np.pi) + 2 * half
    points, _ = sampling_points(bandwidth, count)
    assert len(points) == count
    assert (np.diff(points) > 0).all()
    assert points[-1] < 1
    np.testing.assert_array_equal(points, -points[::-1])


@given(bandwidths, tolerances)
def test_a_sample_is_its_own_interpolation(bandwidth, tolerance):
    count = samples_needed(bandwidth, tolerance)
    points, _ = sampling_points(bandwidth, count)
    np.testing.assert_allclose(interpolation(bandwidth, count, points), np.eye(count), atol=1e-9)


@given(bandwidths, tolerances, st.floats(0.05, 1))
def test_the_mean_over_a_width_damps_each_wave_by_its_sinc(bandwidth, tolerance, part):
    # As wide as pixels may be that show all detail.
    width = part * min(np.pi / bandwidth, 1.0)
    count, places = samples_needed(bandwidth, tolerance), PLACES * (1 - width / 2)
    means = waves(bandwidth, places, FREQUENCIES) * np.sinc(bandwidth * FREQUENCIES * width / 2 / np.pi)
    samples = waves(bandwidth, sampling_points(bandwidth, count)[0], FREQUENCIES)
    error = interpolation(bandwidth, count, places, width) @ samples - means
    assert np.sqrt(mean_square(error) @ SPECTRUM) < tolerance


def test_more_accuracy_takes_more_samples_and_little_of_it():
    counts = [samples_needed(30.0, tolerance) for tolerance in (1e-2, 1e-4, 1e-6, 1e-8)]
    assert counts == sorted(set(counts))
    assert counts[-1] < 2 * counts[0]


def test_a_wave_beyond_the_band_is_not_promised():
    count = samples_needed(20.0, 1e-4)
    points, _ = sampling_points(20.0, count)
    error = interpolation(20.0, count, PLACES) @ waves(20.0, points, [2.0]) - waves(20.0, PLACES, [2.0])
    assert mean_square(error)[0] > 0.1
