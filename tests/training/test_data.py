"""Noise, batches and statistics of the training data."""

import pytest
import torch
from torch import Generator

from stedalign.imaging.sections import normalize
from stedalign.training.data import NoisyBatches, Pictures, add_noise, channel_statistics
from stedalign.training.spec import NoiseSpec

SILENT = NoiseSpec(photons=0, background_fraction=0, background=0)


def pictures(count: int = 10) -> Pictures:
    generator = Generator().manual_seed(0)
    labels = torch.arange(count)[:, None].float()
    return Pictures(torch.rand(count, 3, 8, 8, generator=generator), labels)


def test_photon_noise_has_the_mean_and_variance_of_the_photon_budget() -> None:
    counts = add_noise(torch.full((400_000,), 0.5), NoiseSpec(photons=350), Generator().manual_seed(0))
    expected = 350 * 0.52
    assert counts.mean() == pytest.approx(expected, rel=1e-3)
    assert counts.var() == pytest.approx(expected, rel=1e-2)
    assert torch.equal(counts, counts.round())


def test_the_uneven_background_has_the_reports_standard_deviation() -> None:
    noise = NoiseSpec(photons=0, background_fraction=0.02, background=5)
    noisy = add_noise(torch.full((400_000,), 0.5), noise, Generator().manual_seed(0))
    assert noisy.mean() == pytest.approx(0.52, abs=1e-4)
    assert noisy.std() == pytest.approx(0.005, rel=1e-2)


def test_without_noise_the_pictures_stay_as_they_are() -> None:
    images = pictures().images
    assert torch.equal(add_noise(images, SILENT, Generator()), images)


def test_batches_are_normalized_after_the_noise() -> None:
    (images, _), *_ = NoisyBatches(pictures(), SILENT, 4, seed=0)
    torch.testing.assert_close(images, normalize(pictures().images[:4]))


def test_one_seed_gives_the_same_batches_and_another_one_others() -> None:
    first, again, other = (
        torch.cat([images for images, _ in NoisyBatches(pictures(), NoiseSpec(), 4, seed, shuffle=True)])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_shuffled_pass_shows_every_picture_once() -> None:
    labels = torch.cat([labels for _, labels in NoisyBatches(pictures(), SILENT, 3, 1, shuffle=True)])
    assert labels.flatten().tolist() != list(range(10))
    assert sorted(labels.flatten().tolist()) == list(range(10))


def test_processes_share_a_pass_without_overlap() -> None:
    shares = [
        torch.cat([labels for _, labels in NoisyBatches(pictures(12), SILENT, 3, 1, True, rank, 2)]) for rank in (0, 1)
    ]
    assert sorted(torch.cat(shares).flatten().tolist()) == list(range(12))


def test_statistics_are_those_of_the_noisy_normalized_pictures() -> None:
    batches = NoisyBatches(pictures(), NoiseSpec(), 4, seed=1)
    everything = torch.cat([images for images, _ in batches])
    mean, std = channel_statistics(images for images, _ in batches)
    torch.testing.assert_close(mean, everything.mean((0, 2, 3)))
    torch.testing.assert_close(std, everything.std((0, 2, 3), correction=0), rtol=1e-4, atol=1e-6)
