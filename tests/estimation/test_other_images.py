"""Estimates of images that are no three sections: an xy section alone, and whole volumes."""

import numpy as np
import pytest
import torch

from stedalign.config import Setup
from stedalign.estimation.estimator import Estimator
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import PLANES, FocalSection, Plane, Sections, Volume
from stedalign.imaging.nuisances import Nuisances
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import build
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.optics.zernike import Mode
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build as build_microscope

MODES = ModeSet.default()
SPHERICAL = Mode(4, 0)
KNOWN = Nuisances(
    drift_nm=0, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0
)  # fmt: skip


@pytest.fixture(scope="module")
def estimator(spec):
    return Estimator(spec, MODES, nuisances=KNOWN)


@pytest.fixture(scope="module")
def photograph(spec):
    """A function that takes a noisy image of some wavefront with a model of the image's view."""
    models = {}

    def take(empty, waves, *, shift_nm=(0.0, 0.0, 0.0), seed=0):
        view = empty.view
        model = models.setdefault(view, None) or ForwardModel(spec, MODES, view=view)
        models[view] = model
        parts = len(view.parts)
        parameters = torch.tensor([[*waves, *shift_nm, *[350.0] * parts, *[7.0] * parts]]).float()
        with torch.no_grad():
            counts = torch.poisson(model(parameters), torch.Generator().manual_seed(seed))
        return type(empty)(counts[0, 0].numpy(), empty.pixel_nm)

    return take


@pytest.fixture(scope="module")
def plane(spec):
    return FocalSection(np.zeros((32, 32)), spec.sampling.pixel_nm)


def drawn(seed, strength=0.035):
    return np.random.default_rng(seed).normal(size=len(MODES)) * strength


@pytest.mark.parametrize("seed", range(3))
def test_the_xy_section_alone_tells_an_aberrated_focus(estimator, photograph, plane, seed):
    truth = drawn(seed)
    found = estimator(photograph(plane, truth, shift_nm=(10.0, -20.0, 15.0), seed=seed))
    assert found.accepted, found.reason
    told = [index for index, mode in enumerate(MODES) if mode not in found.blind]
    assert len(told) >= 10
    scores = (found.wavefront.array - truth)[told] / np.array(found.sigma_waves)[told]
    assert np.abs(scores).max() < 4.5


def test_spherical_is_blind_in_the_focal_plane_of_a_good_focus_and_is_left_alone(estimator, photograph, plane):
    found = estimator(photograph(plane, np.zeros(len(MODES))))
    assert SPHERICAL in found.blind
    assert found.correction.array[MODES.modes.index(SPHERICAL)] == 0
    assert [4, 0] in found.to_json()["blind"]
    assert found.accepted, found.reason


def test_three_sections_are_blind_to_nothing(estimator, draw, as_sections):
    _, counts = draw(1, strength=0.0, seed=3)
    assert estimator(as_sections(counts[0])).blind == ()


def test_the_twin_with_the_opposite_even_modes_is_tried(estimator, photograph, plane):
    """From zero the fit may run to either sign; the estimate is that of the likelier one."""
    starts = set()
    for seed in range(4):
        truth = drawn(seed + 10)
        found = estimator(photograph(plane, truth, seed=seed))
        starts.add(found.start)
        assert np.linalg.norm(found.wavefront.array - truth) < 0.02
    assert "twin" in starts


def test_a_network_of_the_xy_section_proposes_for_it(spec, photograph, plane):
    outputs = Outputs(MODES)
    network = Network(build("net11", outputs, spec), outputs)
    found = Estimator(spec, MODES, nuisances=KNOWN, network=network)(photograph(plane, drawn(0)))
    assert found.start in ("network", "twin", "search")


@pytest.fixture(scope="module")
def volume(spec, photograph):
    empty = Volume(np.zeros((24, 32, 28)), spec.sampling.pixel_nm)
    return photograph(empty, drawn(5), shift_nm=(30.0, -20.0, 50.0))


def test_a_volume_tells_the_wavefront_within_its_sigmas(estimator, volume):
    found = estimator(volume)
    assert found.accepted, found.reason
    assert found.reconstruction.shape == (1, 24, 32, 28)
    assert np.abs((found.wavefront.array - drawn(5)) / found.sigma_waves).max() < 4
    np.testing.assert_allclose(found.shift_nm, (30.0, -20.0, 50.0), atol=3)


def test_a_volume_tells_more_than_three_sections(estimator, volume, draw, as_sections):
    _, counts = draw(1, seed=3)
    assert estimator(volume).rms_sigma_waves < 0.6 * estimator(as_sections(counts[0])).rms_sigma_waves


def test_many_images_together_are_estimated_as_each_alone(estimator, photograph, plane):
    images = [photograph(plane, drawn(seed), seed=seed) for seed in range(2)]
    for together, image in zip(estimator.all(images), images, strict=True):
        np.testing.assert_allclose(together.wavefront.array, estimator(image).wavefront.array, atol=2e-4)


def test_a_section_need_not_be_square(spec, estimator, photograph):
    empty = FocalSection(np.zeros((28, 36)), spec.sampling.pixel_nm)
    truth = drawn(1)
    found = estimator(photograph(empty, truth, shift_nm=(40.0, -30.0, 0.0)))
    assert found.accepted, found.reason
    assert found.reconstruction.shape == (1, 28, 36)
    np.testing.assert_allclose(found.shift_nm[:2], (40.0, -30.0), atol=6)
    assert np.linalg.norm(found.wavefront.array - truth) < 0.02


def test_the_xy_section_alone_tells_the_wavefront_of_an_instrument_not_fully_known(spec, photograph, plane):
    truth = drawn(2)
    found = Estimator(spec, MODES)(photograph(plane, truth, seed=2))
    assert found.accepted, found.reason
    told = [index for index, mode in enumerate(MODES) if mode not in found.blind]
    assert len(told) >= 6
    assert np.abs((found.wavefront.array - truth)[told] / np.array(found.sigma_waves)[told]).max() < 4.5


class Misleading(SectionNetwork):
    """Says the same of every image, and it is wrong."""

    def __init__(self):
        super().__init__(PLANES)

    def forward(self, images):
        return torch.full((len(images), len(MODES)), 0.5)


def test_a_volume_that_no_fit_explains_is_begun_again_from_its_sections(spec, photograph):
    empty, truth = Volume(np.zeros((33, 33, 33)), spec.sampling.pixel_nm), drawn(3, 0.08)
    misled = Estimator(spec, MODES, nuisances=KNOWN, network=Network(Misleading(), Outputs(MODES)))
    found = misled(photograph(empty, truth))
    assert found.start == "search"
    assert np.abs((found.wavefront.array - truth) / found.sigma_waves).max() < 4.5


def test_sections_with_pixels_of_their_own_tell_the_wavefront_within_its_sigmas():
    setup = Setup()
    aberration = Wavefront.from_peak_waves(setup.modes, np.random.default_rng(5).normal(scale=0.08, size=11))
    coarser = setup.sampling.model_copy(update={"samples": 48, "pixel_nm": (40.0, 40.0, 45.0)})
    planes = {}
    for sampling, names in ((setup.sampling, ["xy"]), (coarser, ["xz", "yz"])):
        instrument = Instrument.of(setup).model_copy(update={"sampling": sampling})
        microscope = build_microscope(instrument, HiddenWorld(aberration=aberration, bead_nm=(20.0, -10.0, 30.0)), 3)
        microscope.shutter.open()
        image = microscope.source.acquire()
        for name in names:
            data = image.data[image.view.parts.index(name)]
            planes[name] = Plane(data, tuple(image.view.pixel_of(name).values()))
    sections = Sections.of(planes, saturation=65535.0)
    estimate = Estimator(setup.forward, setup.modes)(sections)
    assert estimate.accepted
    errors = (estimate.wavefront.array - aberration.array) / estimate.sigma_waves
    assert np.sqrt(np.square(errors).mean()) < 2
    assert estimate.rms_sigma_waves < 3e-3
    np.testing.assert_allclose(estimate.shift_nm, (20.0, -10.0, 30.0), atol=5)
