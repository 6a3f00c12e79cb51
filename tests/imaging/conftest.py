import numpy as np
import pytest
import torch

from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()


@pytest.fixture(scope="session")
def foci():
    """A function that models foci (count, 3, samples, samples), of a crest of about 1, over a background of 0.02."""

    def modeled(count, samples=32, pixel_nm=60.0, strength_waves=0.03):
        generator = np.random.default_rng(count)
        spec = ForwardSpec(sampling=Sampling(samples=samples, pixel_nm=(pixel_nm,) * 3))
        waves, shift = (generator.normal(size=(count, size)) * sigma for size, sigma in ((11, strength_waves), (3, 30)))
        light = np.full((count, 6), [1.0] * 3 + [0.02] * 3)
        with torch.no_grad():
            parameters = torch.from_numpy(np.concatenate([waves, shift, light], axis=1)).float()
            return ForwardModel(spec, MODES, tolerance=1e-3)(parameters).double().numpy().clip(0)

    return modeled
