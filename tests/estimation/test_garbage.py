"""Whatever the numbers in an image: an estimate of finite numbers, or one line that says why there is none."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stedalign.estimation.checks import ImageError, Limits
from stedalign.estimation.estimator import Estimator
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import FocalSection, OrthoSections, Sampling, Volume
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.wavefront import ModeSet

NM = (125.0, 125.0, 125.0)
SAMPLES = 16
SPEC = ForwardSpec(sampling=Sampling(samples=SAMPLES, pixel_nm=NM))
NUISANCES = Nuisances(taper=0, fill_center=0, ellipticity_deg=0, pixel_error=0, z_scale=0)
COUNTS = st.one_of(
    st.floats(-1e12, 1e12, width=64),
    st.floats(0, 1000).map(round),
    st.sampled_from([0.0, 1.0, 65535.0, 1e-300, 1e300]),
)


@pytest.fixture(scope="module")
def estimator():
    return Estimator(SPEC, ModeSet.default(), nuisances=NUISANCES, limits=Limits(search_generations=1))


@pytest.fixture(scope="module")
def donut():
    model = ForwardModel(SPEC, ModeSet.default(), tolerance=1e-2)
    return model.intensity(model.focus.rest[None])[0].numpy().astype(float)


def outcome(estimator, image):
    (found,) = estimator.all([image])
    if isinstance(found, ImageError):
        assert "\n" not in str(found)
        return str(found)
    numbers = [*found.wavefront.waves, *found.sigma_waves, *found.shift_nm, *found.photons, found.reduced_chi2]
    assert np.isfinite([*numbers, found.null_ratio, found.crest_uniformity, *found.reconstruction.ravel()]).all()
    assert found.accepted == (not found.reason)
    return found.reason


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=arrays.arrays(float, (3, SAMPLES, SAMPLES), elements=COUNTS))
def test_any_numbers_end_as_an_estimate_or_a_reason(estimator, data):
    outcome(estimator, OrthoSections(data, NM))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    power=st.floats(0.2, 4),
    size=st.floats(-2, 7),
    slope=st.floats(-3, 3),
    hot=st.integers(0, 5),
    seed=st.integers(0, 1000),
)
def test_a_distorted_donut_ends_as_an_estimate_or_a_reason(estimator, donut, power, size, slope, hot, seed):
    draw = np.random.default_rng(seed)
    data = donut**power + slope * np.linspace(0, 1, SAMPLES)
    data.ravel()[draw.integers(data.size, size=hot)] = 10.0
    outcome(estimator, OrthoSections(draw.poisson(np.clip(data * 10**size, 0, 1e9)), NM))


@pytest.mark.parametrize("kind", [FocalSection, Volume])
@pytest.mark.parametrize("seed", range(3))
def test_noise_of_any_shape_is_refused(estimator, kind, seed):
    shape = (SAMPLES,) * (2 if kind is FocalSection else 3)
    assert outcome(estimator, kind(np.random.default_rng(seed).exponential(50, size=shape) ** 2, NM))
