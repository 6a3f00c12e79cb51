import numpy as np
import pytest
import torch

from stedalign.estimation import search as search_module
from stedalign.estimation.observed import Observed
from stedalign.estimation.propose import Proposal
from stedalign.estimation.search import LIFE_GENERATIONS, likely_starts
from stedalign.imaging.forward import ForwardModel
from stedalign.optics.patterns import TopHat
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()
NOTHING = Proposal(np.zeros(len(MODES)), np.zeros(3))


@pytest.fixture(scope="module")
def rough(spec):
    return ForwardModel(spec, MODES, binning=2, tolerance=3e-2)


def search(model, counts, proposal=NOTHING):
    return likely_starts(model, Observed.of(counts).binned(model), proposal, NOTHING, generations=16)


def test_a_strong_aberration_is_found_without_a_hint(rough, draw):
    truth, counts = draw(1, strength=0.25, seed=4)
    assert truth[0, : len(MODES)].norm() > 0.25
    end = next(search(rough, counts))
    np.testing.assert_allclose(end.waves, truth[0, : len(MODES)].numpy(), atol=0.02)


def test_the_search_ends_at_once_where_all_starts_agree_that_nothing_fits(spec, rough, draw):
    _, counts = draw(1, strength=0.03, seed=1)
    beam = spec.beam.model_copy(update={"polarization": Polarization(ellipticity_deg=-45)})
    wrong = ForwardModel(spec.model_copy(update={"beam": beam}), MODES, binning=2, tolerance=3e-2)
    assert len(list(search(wrong, counts))) == 1


def test_the_search_ends_after_one_life_where_most_starts_explain_a_part_and_none_all(spec, rough, monkeypatch):
    top_hat = spec.beam.model_copy(update={"pattern": TopHat()})
    other = ForwardModel(spec.model_copy(update={"beam": top_hat}), MODES)
    parameters = torch.zeros(1, len(other.layout))
    parameters[:, :3], parameters[:, other.layout.scale], parameters[:, other.layout.background] = 0.04, 350.0, 7.0
    counts = torch.poisson(other(parameters), torch.Generator().manual_seed(0)).double()
    generations = []
    fits = search_module._fits
    monkeypatch.setattr(search_module, "_fits", lambda *given: generations.append(1) or fits(*given))
    list(search(rough, counts))
    assert 1 < len(generations) <= LIFE_GENERATIONS


def test_the_same_image_is_searched_the_same_way(rough, draw):
    _, counts = draw(1, strength=0.2, seed=2)
    first, second = (next(search(rough, counts)) for _ in range(2))
    np.testing.assert_array_equal(first.waves, second.waves)


def test_an_image_of_noise_ends_the_search_without_an_error(rough):
    noise = torch.poisson(torch.full((1, 3, 32, 32), 20.0), torch.Generator().manual_seed(0))
    ends = [end for _, end in zip(range(2), search(rough, noise), strict=False)]
    assert all(np.isfinite(end.waves).all() for end in ends)
