import numpy as np
import pytest
import torch

from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import FocalSection, OrthoSections, Sampling, View, Volume
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()
NM = (60.0, 60.0, 90.0)


@pytest.mark.parametrize(
    ("image", "axes", "shape"),
    [
        (FocalSection(np.zeros((12, 16)), NM), "xy", (1, 12, 16)),
        (Volume(np.zeros((8, 12, 16)), NM), "xyz", (1, 8, 12, 16)),
        (OrthoSections(np.zeros((3, 16, 16)), NM), "xyz", (3, 16, 16)),
    ],
)
def test_an_image_tells_what_it_shows(image, axes, shape):
    assert image.view.axes == axes
    assert image.counts.shape == shape
    assert image.view.pixels == np.prod(shape)


@pytest.mark.parametrize(("kind", "shape"), [(FocalSection, (3, 16, 16)), (FocalSection, (16, 7)), (Volume, (16, 16))])
def test_an_image_of_another_shape_is_no_such_image(kind, shape):
    with pytest.raises(ValueError, match="expected"):
        kind(np.zeros(shape), NM)


def test_the_half_width_of_an_image_is_that_of_its_axis():
    view = Volume(np.zeros((8, 12, 16)), (20.0, 30.0, 50.0)).view
    assert [view.half_width_nm(axis) for axis in "xyz"] == [160.0, 180.0, 200.0]


@pytest.fixture(scope="module")
def parameters():
    generator = np.random.default_rng(0)
    return torch.tensor(np.concatenate([generator.normal(size=11) * 0.03, [20.0, -15.0, 40.0]]))[None].float()


def test_the_sections_of_a_modeled_volume_are_the_modeled_sections(parameters):
    spec = ForwardSpec(sampling=Sampling(samples=17, pixel_nm=NM))
    sections = ForwardModel(spec, MODES, tolerance=1e-5)
    volume = ForwardModel(spec, MODES, view=View(parts=("volume",), shape=(17,) * 3, pixel_nm=NM), tolerance=1e-5)
    cube = volume.intensity(parameters)[0, 0] / volume.focus.scale * sections.focus.scale
    found = torch.stack([cube[8], cube[:, 8], cube[:, :, 8]])
    torch.testing.assert_close(found, sections.intensity(parameters)[0], rtol=0, atol=5e-5)


def test_a_binned_volume_holds_the_sums_of_its_voxels(parameters):
    view = View(parts=("volume",), shape=(16, 12, 20), pixel_nm=NM)
    fine, coarse = (ForwardModel(ForwardSpec(), MODES, view=view, binning=step, tolerance=1e-4) for step in (1, 2))
    light = torch.cat([parameters, torch.tensor([[300.0, 7.0]])], dim=1)
    assert coarse(light).shape == (1, 1, 8, 6, 10)
    torch.testing.assert_close(coarse(light), coarse.binned(fine(light)), rtol=1e-3, atol=1e-2)


def test_a_volume_has_one_light_and_sections_have_three():
    spec = ForwardSpec(sampling=Sampling(samples=16, pixel_nm=NM))
    whole = ForwardModel(spec, MODES, view=Volume(np.zeros((8, 8, 8)), NM).view, tolerance=1e-2)
    assert whole.layout.names[-2:] == ("scale volume", "background volume")
    sections = ForwardModel(spec, MODES, tolerance=1e-2)
    assert sections.layout.names[-3:] == ("background xy", "background xz", "background yz")
