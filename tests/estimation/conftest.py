import numpy as np
import pytest
import torch

from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import OrthoSections, Sampling
from stedalign.optics.wavefront import ModeSet, Wavefront

SAMPLING = Sampling(samples=32, pixel_nm=(60.0, 60.0, 60.0))
MODES = ModeSet.default()


@pytest.fixture(scope="session")
def spec():
    return ForwardSpec(sampling=SAMPLING)


@pytest.fixture(scope="session")
def model(spec):
    return ForwardModel(spec, MODES)


@pytest.fixture(scope="session")
def draw(model):
    """A function that draws noisy counts (n, 3, N, N) and their true parameters (n, P) from the model."""

    def drawn(count, *, strength=0.1, photons=350.0, background=7.0, shift_nm=30.0, seed=0):
        generator = np.random.default_rng(seed)
        peaks = generator.normal(size=(count, len(MODES))) * strength
        waves = np.array([Wavefront.from_peak_waves(MODES, row).array for row in peaks])
        rest = [
            generator.normal(size=(count, 3)) * shift_nm,
            np.full((count, 3), photons),
            np.full((count, 3), background),
        ]
        truth = torch.tensor(np.concatenate([waves, *rest], axis=1))
        with torch.no_grad():
            expected = model(truth.float()).double().numpy()
        return truth, torch.from_numpy(generator.poisson(expected).astype(float))

    return drawn


@pytest.fixture(scope="session")
def as_sections():
    return lambda counts, **facts: OrthoSections(np.array(torch.as_tensor(counts).numpy()), SAMPLING.pixel_nm, **facts)
