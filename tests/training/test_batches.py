"""Noise, batches and statistics of the training data."""

import pytest
import torch
from torch import Generator

from stedalign.imaging.images import normalize
from stedalign.training.batches import LabeledImages, NoisyBatches, add_noise, channel_statistics
from stedalign.training.spec import NoiseSpec

SILENT = NoiseSpec(photons=0, background_fraction=0, background=0)


def labeled(count: int = 10) -> LabeledImages:
    generator = Generator().manual_seed(0)
    labels = torch.arange(count)[:, None].float()
    return LabeledImages(torch.rand(count, 3, 8, 8, generator=generator), labels)


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


def test_without_noise_the_images_stay_as_they_are() -> None:
    images = labeled().images
    assert torch.equal(add_noise(images, SILENT, Generator()), images)


def test_batches_are_normalized_after_the_noise() -> None:
    (images, _), *_ = NoisyBatches(labeled(), SILENT, 4, seed=0)
    torch.testing.assert_close(images, normalize(labeled().images[:4]))


def test_one_seed_gives_the_same_batches_and_another_one_others() -> None:
    first, again, other = (
        torch.cat([images for images, _ in NoisyBatches(labeled(), NoiseSpec(), 4, seed, shuffle=True)])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_shuffled_pass_shows_every_image_once() -> None:
    labels = torch.cat([labels for _, labels in NoisyBatches(labeled(), SILENT, 3, 1, shuffle=True)])
    assert labels.flatten().tolist() != list(range(10))
    assert sorted(labels.flatten().tolist()) == list(range(10))


@pytest.mark.parametrize(("count", "world"), [(12, 2), (12, 3), (10, 2), (13, 3)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_shares_of_all_processes_are_the_batch_of_one(count: int, world: int, shuffle: bool) -> None:
    whole = list(NoisyBatches(labeled(count), NoiseSpec(), 6, 1, shuffle))
    shares = [list(NoisyBatches(labeled(count), NoiseSpec(), 6, 1, shuffle, rank, world)) for rank in range(world)]
    assert {len(each) for each in shares} == {len(NoisyBatches(labeled(count), NoiseSpec(), 6, 1, shuffle, 0, world))}
    known = {float(label): image for images, labels in whole for image, label in zip(images, labels, strict=True)}
    seen = [
        (float(label), image)
        for each in shares
        for images, labels in each
        for image, label in zip(images, labels, strict=True)
    ]
    for label, image in seen:
        torch.testing.assert_close(image, known[label])
    left_out = count - len(seen)
    assert len({label for label, _ in seen}) == len(seen)
    assert left_out == (count % 6 % world if shuffle else 0)
    for step, (_, labels) in enumerate(whole[: count // 6]):
        together = {float(label) for each in shares for label in each[step][1]}
        assert together >= set(labels.flatten().tolist())


def test_shuffled_shares_are_of_one_size() -> None:
    steps = zip(*(NoisyBatches(labeled(17), SILENT, 6, 1, True, rank, 3) for rank in range(3)), strict=True)
    assert [[len(labels) for _, labels in step] for step in steps] == [[2, 2, 2], [2, 2, 2], [1, 1, 1]]


def test_no_process_is_without_an_image_in_any_step() -> None:
    steps = zip(*(NoisyBatches(labeled(13), SILENT, 6, 1, False, rank, 3) for rank in range(3)), strict=True)
    assert [[len(labels) for _, labels in step] for step in steps] == [[2, 2, 2], [3, 2, 2]]


def test_the_noise_of_an_image_does_not_depend_on_its_batch() -> None:
    large, small = (torch.cat([images for images, _ in NoisyBatches(labeled(), NoiseSpec(), n, 1)]) for n in (10, 3))
    assert torch.equal(large, small)


@pytest.mark.parametrize(
    ("count", "world", "words"), [(10, 4, "4 processes cannot share batches of 6"), (2, 3, "2 images are too few")]
)
def test_what_processes_cannot_share_is_refused(count: int, world: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NoisyBatches(labeled(count), SILENT, 6, 1, world=world)


def test_statistics_are_those_of_the_noisy_normalized_images() -> None:
    batches = NoisyBatches(labeled(), NoiseSpec(), 4, seed=1)
    everything = torch.cat([images for images, _ in batches])
    mean, std = channel_statistics(images for images, _ in batches)
    torch.testing.assert_close(mean, everything.mean((0, 2, 3)))
    torch.testing.assert_close(std, everything.std((0, 2, 3), correction=0), rtol=1e-4, atol=1e-6)
