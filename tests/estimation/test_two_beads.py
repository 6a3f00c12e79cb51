import numpy as np
import pytest
import torch

from stedalign.estimation.fit import fit, start_parameters
from stedalign.estimation.hypotheses import BETTER
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.models import Models
from stedalign.estimation.observed import Observed
from stedalign.estimation.two_beads import TwoBeads, two_beads_misfit
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Nuisances, Prior
from stedalign.optics.polarization import Polarization

MODES = 11


def parameters_of_a_pair(pair, apart):
    generator = np.random.default_rng(0)
    parameters = torch.zeros(1, len(pair.names), dtype=torch.float64)
    parameters[0, :MODES] = torch.from_numpy(generator.normal(scale=0.02, size=MODES))
    parameters[0, pair.apart] = torch.tensor(apart, dtype=torch.float64)
    parameters[0, pair.shift] = -parameters[0, pair.apart] / 2
    parameters[0, pair.brightness] = 0.8
    parameters[0, pair.scale], parameters[0, pair.background] = 350.0, 7.0
    return parameters


@pytest.fixture(scope="module")
def pair(model):
    return TwoBeads(model)


def test_a_pair_is_the_sum_of_two_beads(model, pair):
    both = parameters_of_a_pair(pair, (300.0, 50.0, -80.0)).float()
    first = torch.zeros(1, len(model.layout))
    first[0, : model.layout.shift.stop] = both[0, : pair.shift.stop]
    first[0, model.layout.scale] = 350.0
    second = first.clone()
    second[:, model.layout.shift] += both[:, pair.apart]
    expected = model(first) + 0.8 * model(second) + 7.0
    torch.testing.assert_close(pair(both), expected, rtol=1e-4, atol=1e-2)


def test_the_slopes_of_a_pair_are_differences(model):
    pair = TwoBeads(model.double())
    at = parameters_of_a_pair(pair, (250.0, 100.0, 0.0))
    _, slopes = pair.linearize(at)
    steps = torch.full((len(pair.names),), 1e-5, dtype=torch.float64)
    steps[pair.shift] = steps[pair.apart] = 1e-3
    for column in range(len(pair.names)):
        step = torch.zeros_like(at)
        step[0, column] = steps[column]
        difference = (pair(at + step) - pair(at - step)).flatten(2) / (2 * steps[column])
        torch.testing.assert_close(slopes[:, column], difference, rtol=1e-4, atol=1e-4 * float(difference.abs().max()))
    model.float()


@pytest.mark.parametrize("apart", [(300.0, 0.0, 0.0), (100.0, -150.0, 250.0)])
def test_two_beads_are_told_from_one(model, pair, apart):
    counts = torch.poisson(pair(parameters_of_a_pair(pair, apart).float()), torch.Generator().manual_seed(0))
    observed = Observed.of(counts)
    zero, middle = torch.zeros(1, MODES).double(), torch.zeros(1, 3).double()
    alone = fit(model, observed, start_parameters(model, observed, zero, middle), prior=Prior.of(model), iterations=30)
    left = Misfit.of_fit(model, observed, alone.parameters, len(model.layout))
    assert left.share > 0.003
    two, brightness = two_beads_misfit(model, observed, middle[0])
    assert two.share < BETTER * left.share
    assert brightness == pytest.approx(0.8, abs=0.1)


def test_one_bead_of_another_handedness_is_not_two(spec, model, draw):
    truth, _ = draw(1, strength=0.05, seed=2)
    beam = spec.beam.model_copy(update={"polarization": Polarization(ellipticity_deg=-45)})
    wrong = ForwardModel(spec.model_copy(update={"beam": beam}), model.modes)
    observed = Observed.of(torch.poisson(wrong(truth.float()), torch.Generator().manual_seed(0)))
    nuisances = Nuisances()
    models = Models(spec, spec.sampling.view, model.modes, nuisances)
    whole, rough = models.ordinary, models.rough
    zero, middle = torch.zeros(1, MODES).double(), torch.zeros(1, 3).double()
    binned = observed.binned(whole)
    begin = start_parameters(whole, binned, zero, middle)
    alone = fit(whole, binned, begin, prior=Prior.of(whole, nuisances), iterations=40)
    left = Misfit.of_fit(whole, binned, alone.parameters, len(whole.layout))
    assert left.share > 0.003
    assert two_beads_misfit(rough, observed.binned(rough), middle[0])[0].share > BETTER * left.share
