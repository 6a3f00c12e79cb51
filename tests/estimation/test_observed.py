import pytest
import torch

from stedalign.estimation.observed import Observed
from stedalign.imaging.forward import ForwardModel
from stedalign.optics.wavefront import ModeSet


@pytest.fixture
def observed():
    counts = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Observed.of(counts, 2.0)


def test_read_noise_is_a_variance(observed):
    assert (observed.extra == 4).all()
    assert (observed.weight == 1).all()


def test_binned_pixels_add_photons_and_variances_and_are_believed_only_as_a_whole(spec, observed):
    observed.weight[0, 1, 5, 8] = 0
    coarse = ForwardModel(spec, ModeSet.of([(2, 2)]), binning=2, tolerance=1e-2)
    binned = observed.binned(coarse)
    blocks = observed.counts.unflatten(-1, (16, 2)).unflatten(-3, (16, 2)).sum((-1, -3))
    torch.testing.assert_close(binned.counts, blocks)
    assert (binned.extra == 16).all()
    assert (binned.weight == 0).nonzero().tolist() == [[0, 1, 2, 4]]
    assert float(binned.weight.sum()) == binned.weight.numel() - 1


def test_images_are_joined_chosen_and_repeated_with_all_that_belongs_to_them(observed):
    other = Observed.of(observed.counts + 1, 1.0)
    joined = Observed.joined([observed, other])
    picked = joined.rows([3, 0])
    torch.testing.assert_close(picked.counts, torch.stack([other.counts[1], observed.counts[0]]))
    assert picked.extra[:, 0, 0, 0].tolist() == [1, 4]
    repeated = observed.rows([1]).repeated(5)
    assert repeated.counts.shape == (5, 3, 32, 32)
    assert (repeated.counts == observed.counts[1]).all()


def test_more_noise_is_that_of_a_part(observed):
    noisier = observed.with_more_noise(torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], dtype=torch.float64))
    assert noisier.extra[..., 7, 9].tolist() == [[4, 5, 6], [7, 8, 9]]
    assert (observed.extra == 4).all()


def test_a_part_that_is_left_out_has_no_weight(observed):
    kept = observed.only(torch.tensor([[1.0, 0.0, 1.0]] * 2, dtype=torch.float64))
    assert kept.weight.sum((-1, -2)).tolist() == [[1024, 0, 1024]] * 2


def test_the_background_may_lie_below_zero_by_a_share_of_the_electronics_variance(observed):
    assert observed.least_background().tolist() == [[-2.0] * 3] * 2
    assert observed.least_background(4).tolist() == [[-0.5] * 3] * 2
    counted = Observed.of(observed.counts)
    assert (counted.least_background() == 0).all()
