"""What the toy microscope's runs need: its mask, and estimates that say what a test wants."""

import numpy as np
import pytest
from toy_microscope import Toy

from stedalign.estimation.estimate import Estimate
from stedalign.imaging.photon_transfer import Reading
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.from_ansi([3, 5])


def mask(correction):
    waves = correction.on(MODES).array
    return np.tile(np.rint(100 + 1000 * waves), (2, 1)).clip(0, 255).astype(np.uint8)


def make_estimate(toy, waves, *, sigma=0.001, accepted=True, model_error=0.0, shift_nm=(0.0, 0.0, 0.0)):
    return Estimate(
        wavefront=Wavefront(MODES, tuple(waves)),
        noise_sigma_waves=(sigma,) * len(MODES),
        model_sigma_waves=(0.0,) * len(MODES),
        blind=(),
        shift_nm=shift_nm,
        photons=(350.0,) * 3,
        background=(7.0,) * 3,
        nuisances={},
        effects=(),
        reading=Reading(1.0, 0.0, 0.0, ()),
        flaws=(),
        reduced_chi2=1.0 if accepted else 5.0,
        unexplained=0.0 if accepted else 0.5,
        model_error=model_error,
        model_error_nm=100.0,
        reason="" if accepted else "the model does not explain the image",
        null_ratio=0.01,
        crest_uniformity=0.9,
        correlations={"xy": 0.99, "xz": 0.99, "yz": 0.99},
        start="zero",
        reconstruction=toy.ideal(),
        ideal=toy.ideal(),
        simulated=False,
    )


@pytest.fixture
def toy():
    return Toy


@pytest.fixture
def estimate_of():
    return make_estimate


@pytest.fixture
def mask_of():
    return mask


@pytest.fixture
def zero():
    return Wavefront.zero(MODES)
