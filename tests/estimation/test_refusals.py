"""Each reason for which an estimate is not to be trusted, from an image that has it."""

import numpy as np
import pytest
import torch

from stedalign.errors import InputError
from stedalign.estimation import explain, fits, hypotheses
from stedalign.estimation.checks import ImageError, Limits
from stedalign.estimation.estimator import Estimator
from stedalign.estimation.propose import propose
from stedalign.imaging.images import PLANES, FocalSection
from stedalign.imaging.nuisances import Nuisances
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()
KNOWN = Nuisances(
    drift_nm=0, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0
)  # fmt: skip


class Constant(SectionNetwork):
    """Gives the same answer for every image."""

    def __init__(self, *answer, planes=PLANES):
        super().__init__(planes)
        self.answer = torch.tensor(answer)

    def forward(self, images):
        return self.answer.repeat(len(images), 1)


@pytest.fixture(scope="module")
def image(draw, as_sections):
    return as_sections(draw(1, seed=3)[1][0])


@pytest.fixture(scope="module")
def perfect(draw, as_sections):
    return as_sections(draw(1, strength=0.0, seed=3)[1][0])


@pytest.fixture(scope="module")
def empty(as_sections):
    return as_sections(np.full((3, 32, 32), 7.0))


def xy(sections):
    return FocalSection(sections.data[0], sections.pixel_nm)


def test_an_empty_image_has_no_estimate(spec, empty):
    with pytest.raises(ImageError, match="empty"):
        Estimator(spec, MODES, nuisances=KNOWN)(empty)


def test_a_fit_that_did_not_come_to_its_end_is_refused(spec, image, monkeypatch):
    monkeypatch.setattr(fits, "FIT_STEPS", 2)
    monkeypatch.setattr(fits, "LATE_FIT_STEPS", 1)
    monkeypatch.setattr(explain, "FIT_STEPS", 1)
    monkeypatch.setattr(hypotheses, "LEAST_MISFIT", 1.0)
    monkeypatch.setattr(explain, "LEAST_NARROWED", 1.0)
    limits = Limits(max_unexplained=1, search_generations=0)
    assert Estimator(spec, MODES, nuisances=KNOWN, limits=limits)(image).reason == "the fit did not converge"


def test_two_beads_are_named_where_one_does_not_explain_the_image(spec, model, draw, as_sections):
    one, _ = draw(1, strength=0.03, seed=3)
    other = one.clone()
    other[0, len(MODES)] += 300.0
    with torch.no_grad():
        counts = torch.poisson(model(one.float()) + model(other.float()), torch.Generator().manual_seed(0))
    estimator = Estimator(spec, MODES, nuisances=KNOWN, limits=Limits(search_generations=1))
    assert "two beads" in estimator(as_sections(counts[0])).reason


def test_an_xy_section_does_not_tell_spherical_of_a_good_focus(spec, perfect):
    assert "image xz and yz" in Estimator(spec, ModeSet.of([(4, 0)]), nuisances=KNOWN)(xy(perfect)).reason


def test_a_tip_which_is_a_shift_is_to_be_left_out(spec, perfect):
    assert "leave a mode out" in Estimator(spec, ModeSet.of([(1, 1), (2, 2)]), nuisances=KNOWN)(perfect).reason


def test_a_network_of_three_sections_is_not_asked_about_one(spec, image):
    network = Network(Constant(*[0.0] * len(MODES)), Outputs(MODES))
    assert propose(network, [xy(image)], spec.sampling) == [None]


def test_a_network_that_tells_no_modes_is_no_start(spec, image):
    with pytest.raises(InputError, match="mask offset alone"):
        propose(Network(Constant(0.0, 0.0), Outputs(None, mask_offset=True)), [image], spec.sampling)
