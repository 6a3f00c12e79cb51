"""Images through a pinhole that the setup knows nothing of."""

import numpy as np
import pytest
import torch

from stedalign.estimation.estimator import Estimator
from stedalign.estimation.two_beads import TwoBeads
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import OrthoSections, Sampling
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.detection import Detection
from stedalign.optics.parameters import PINHOLE
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.of([(2, 2), (2, -2), (3, 1), (3, -1), (4, 0)])
SAMPLING = Sampling(samples=32, pixel_nm=(62.5, 62.5, 62.5))
OPEN = ForwardSpec(sampling=SAMPLING)
KNOWN = Nuisances(
    drift_nm=0, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0
)


@pytest.mark.parametrize("airy", [1.0, 4.0])
def test_a_pinhole_is_found_from_an_open_one(airy: float) -> None:
    narrow = OPEN.model_copy(update={"detection": Detection(pinhole_airy=airy)})
    truth = ForwardModel(narrow, MODES, tolerance=1e-3, strength_waves=0.1)
    waves = torch.tensor([[0.03, -0.02, 0.04, 0.02, -0.03]])
    intensity = truth.intensity(truth.layout.pack_focus(waves, torch.tensor([[20.0, -10.0, 30.0]])))[0].numpy()
    counts = np.random.default_rng(0).poisson(2000 * (intensity + 0.02))
    nuisances = KNOWN.model_copy(update={"pinhole": 0.7})
    found = Estimator(OPEN, MODES, nuisances=nuisances)(OrthoSections(counts, SAMPLING.pixel_nm))
    assert found.accepted, found.reason
    cube, sigma = found.nuisances[PINHOLE]
    assert abs(cube - airy**-3) < 4 * sigma < airy**-3
    assert np.abs((found.wavefront.array - waves.numpy()[0]) / found.sigma_waves).max() < 4


def test_both_of_two_beads_are_seen_through_the_pinhole() -> None:
    narrow = OPEN.model_copy(update={"detection": Detection(pinhole_airy=1.0)})
    one = ForwardModel(narrow, MODES, binning=2, tolerance=1e-2, strength_waves=0.1)
    model = TwoBeads(one)
    parameters = torch.zeros(1, len(model.names))
    parameters[:, model.apart] = torch.tensor([200.0, -150.0, 50.0])
    parameters[:, model.brightness], parameters[:, model.scale] = 0.8, 100.0
    values, _ = model.linearize(parameters)
    torch.testing.assert_close(values, model(parameters).flatten(2))
    beads = parameters[:, model.first].repeat(2, 1)
    beads[1, model.shift] += parameters[0, model.apart]
    first, second = one.intensity(beads).flatten(2)
    torch.testing.assert_close(values[0], (first + 0.8 * second) * 100 * one.pooled, rtol=1e-4, atol=1e-3)
