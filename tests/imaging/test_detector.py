"""All noise: of the simulated microscope and of training images."""

import numpy as np
import pytest
import torch
from torch import Generator

from stedalign.imaging.detector import Detector, NoiseSpec, add_noise, expose_at_random


def test_an_exposure_draws_photons_first_and_then_read_noise() -> None:
    """So that a seed means the same counts in every version."""
    expected, generator = np.linspace(0, 90, 40), np.random.default_rng(3)
    photons = generator.poisson(expected)
    counts = np.clip(np.rint(photons + generator.normal(scale=2.0, size=40)), 0, 80)
    exposed = Detector(read_noise=2.0, saturation=80).expose(expected, np.random.default_rng(3))
    np.testing.assert_array_equal(exposed, counts)


def test_training_noise_draws_the_uneven_background_first_and_then_photons() -> None:
    images, generator = torch.rand(2, 3, 8, 8, generator=Generator().manual_seed(0)), Generator().manual_seed(5)
    noise = NoiseSpec(photons=200, background_fraction=0.1, background=20)
    uneven = 0.02 * torch.randn(images.shape, generator=generator)
    expected = (images + 0.1 + uneven).clamp_min(0) * 200
    assert torch.equal(add_noise(images, noise, Generator().manual_seed(5)), torch.poisson(expected, generator))


def test_the_uneven_background_is_read_noise_of_that_many_counts() -> None:
    assert NoiseSpec(photons=350, background=5).uneven_counts == pytest.approx(1.75)


def test_photon_noise_has_the_mean_and_variance_of_the_photon_budget() -> None:
    counts = add_noise(torch.full((400_000,), 0.5), NoiseSpec(photons=350), Generator().manual_seed(0))
    expected = 350 * 0.52
    assert counts.mean() == pytest.approx(expected, rel=1e-3)
    assert counts.var() == pytest.approx(expected, rel=1e-2)
    assert torch.equal(counts, counts.round())


def test_the_uneven_background_has_the_origins_standard_deviation() -> None:
    noise = NoiseSpec(photons=0, background_fraction=0.02, background=5)
    noisy = add_noise(torch.full((400_000,), 0.5), noise, Generator().manual_seed(0))
    assert noisy.mean() == pytest.approx(0.52, abs=1e-4)
    assert noisy.std() == pytest.approx(0.005, rel=1e-2)


def test_without_noise_the_images_stay_as_they_are() -> None:
    images = torch.rand(10, 3, 8, 8, generator=Generator().manual_seed(0))
    assert torch.equal(add_noise(images, NoiseSpec(photons=0, background_fraction=0), Generator()), images)


def test_binned_pixels_hold_the_sum_of_their_counts() -> None:
    images = torch.full((50, 3, 8, 8), 0.4)
    counts = expose_at_random(images, (200.0, 200.0), (0.1, 0.1), 2, Generator().manual_seed(0))
    assert torch.equal(counts, counts.round())
    assert float(counts.mean()) == pytest.approx(4 * 200 * 0.5, rel=0.01)
    assert float(counts.var()) == pytest.approx(4 * 200 * 0.5, rel=0.05)


def test_each_image_has_its_own_light_and_background() -> None:
    dark = expose_at_random(torch.zeros(500, 1, 16, 16), (10, 1000), (0.5, 0.5), 1, Generator().manual_seed(0))
    crest = dark.mean((1, 2, 3)) / 0.5
    assert float(crest.log().mean()) == pytest.approx(np.log(100), abs=0.2)
    assert float(crest.min()) == pytest.approx(10, rel=0.2)
    assert float(crest.max()) == pytest.approx(1000, rel=0.1)


@pytest.mark.parametrize(
    ("gain", "baseline", "read_noise"), [(3.0, 100.0, 5.0), (20.0, -400.0, 0.0), (1.0, -20.0, 8.0)]
)
def test_counts_have_the_moments_of_gain_baseline_and_noise(gain, baseline, read_noise) -> None:
    detector = Detector(gain=gain, baseline=baseline, read_noise=read_noise)
    expected = np.full(200_000, 60.0)
    counts = detector.expose(expected, np.random.default_rng(0))
    assert counts.mean() == pytest.approx(60 * gain + baseline, abs=0.01 * 60 * gain)
    # Whole counts round.
    assert counts.var() == pytest.approx(60 * gain**2 + read_noise**2 + (1 / 12 if read_noise else 0), rel=0.02)


def test_a_detector_to_be_measured_exposes_as_a_counter_of_photons() -> None:
    expected = np.linspace(0, 90, 40)
    counted = Detector(gain=1.0, baseline=0.0, read_noise=0.0)
    exposures = [detector.expose(expected, np.random.default_rng(1)) for detector in (Detector(), counted)]
    np.testing.assert_array_equal(*exposures)
    assert Detector().read_photons == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gain", 0.0),
        ("gain", -1.0),
        ("gain", 1e7),
        ("gain", float("nan")),
        ("baseline", -1e7),
        ("baseline", float("inf")),
        ("baseline", "measured"),
        ("read_noise", -0.1),
        ("read_noise", None),
    ],
)
def test_what_no_detector_has_is_refused_with_what_is_expected(name, value) -> None:
    with pytest.raises(ValueError, match=r'"measure" or a number from .* to 1e\+06 is expected'):
        Detector(**{name: value})
