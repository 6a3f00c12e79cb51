"""What a fit leaves beyond noise, from misfits that were planted."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from stedalign.estimation.misfit import SHORTEST_PX, Misfit
from stedalign.estimation.observed import Observed

SHAPE = 1, 3, 64, 64
CREST = 400.0


def expected_counts():
    """A ring in each part, over a background of 10."""
    y, x = np.indices(SHAPE[2:]) - 31.5
    squares = (x**2 + y**2) / 100
    return 10 + CREST * np.e * np.broadcast_to(squares * np.exp(-squares), SHAPE)


def planted(length_px, counts, seed):
    """A Gaussian random field of correlation length ``length_px``, whose pixels scatter by ``counts``."""
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    # White noise behind a Gaussian filter is correlated by a Gaussian wider by the root of 2.
    field = noise if length_px == 0 else gaussian_filter(noise, (0, 0, *[length_px / np.sqrt(2)] * 2), mode="wrap")
    return counts * field / field.std()


def misfit(length_px, counts, seed=0, read_noise=0.0):
    expected = expected_counts()
    generator = np.random.default_rng(seed + 100)
    light = np.clip(expected + planted(length_px, counts, seed), 0, None)
    image = generator.poisson(light) + generator.normal(size=SHAPE) * read_noise
    return Misfit.of(Observed.of(torch.from_numpy(image), read_noise), torch.from_numpy(expected.copy()), 20)


@pytest.mark.parametrize("length_px", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("read_noise", [0.0, 10.0])
def test_size_and_correlation_length_of_a_misfit_are_found(length_px, read_noise):
    found = [misfit(length_px, 8.0, seed, read_noise) for seed in range(4)]
    assert np.mean([each.counts for each in found]) == pytest.approx(8.0, rel=0.1)
    assert np.mean([each.length_px for each in found]) == pytest.approx(length_px, rel=0.2)
    assert np.mean([each.fraction for each in found]) == pytest.approx(8.0 / CREST, rel=0.12)


def test_the_share_is_that_of_the_squares_around_an_even_background():
    expected = expected_counts()[0]
    shown = np.square(expected - expected.mean(axis=(1, 2), keepdims=True)).mean()
    found = np.mean([misfit(2.0, 6.0, seed).share for seed in range(8)])
    assert found == pytest.approx(36 / (shown + 36), rel=0.15)


def test_a_misfit_of_single_pixels_is_as_short_as_can_be():
    assert misfit(0, 15.0).length_px == SHORTEST_PX


def test_noise_alone_leaves_next_to_nothing():
    found = [misfit(2.0, 0.0, seed) for seed in range(10)]
    assert np.mean([each.reduced_chi2 for each in found]) == pytest.approx(1, abs=0.02)
    assert max(each.share for each in found) < 1e-3
    assert any(each.counts == 0 for each in found)


def test_an_image_that_shows_nothing_is_unexplained_at_most_wholly():
    constant = torch.full(SHAPE, 50.0, dtype=torch.float64)
    found = Misfit.of(Observed.of(constant + 9), constant, 20)
    assert (found.share, np.isfinite(found.fraction)) == (1.0, True)


def test_pixels_that_are_not_believed_are_no_misfit():
    expected = torch.from_numpy(expected_counts().copy())
    weight = torch.ones(SHAPE, dtype=torch.float64)
    weight[0, 1, 20] = 0
    spoiled = expected + 1e6 * (1 - weight)
    found = Misfit.of(Observed(spoiled, torch.zeros_like(spoiled), weight), expected, 20)
    assert (found.share, found.counts, found.reduced_chi2) == (0.0, 0.0, 0.0)


def test_images_are_correlated_by_the_matrix_of_their_distances():
    slopes = torch.randn(2, 2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = Misfit(0.0, 0.0, 0.0, 1.0, 1.7).correlated(slopes)
    rows, columns = np.indices((5, 7)).reshape(2, -1)
    squares = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    matrix = torch.from_numpy(np.exp(-squares / (2 * 1.7**2)))
    torch.testing.assert_close(found.flatten(2), slopes.flatten(2) @ matrix)


def test_a_volume_is_correlated_along_all_its_axes():
    slopes = torch.zeros(1, 1, 5, 5, 5, dtype=torch.float64)
    slopes[0, 0, 2, 2, 2] = 1
    found = Misfit(0.0, 0.0, 0.0, 1.0, 2.0).correlated(slopes)[0, 0]
    assert found[4, 1, 2].item() == pytest.approx(np.exp(-(4 + 1) / 8))


def test_as_many_pixels_vary_as_one_as_a_gaussian_covers():
    assert Misfit(0.0, 0.0, 0.0, 1.0, 3.0).pixels_alike == pytest.approx(4 * np.pi * 9)
    assert Misfit(0.0, 0.0, 0.0, 1.0, 0.1).pixels_alike == 1
