"""Images that no estimate can be made from, whatever the unit of their counts."""

import numpy as np
import pytest
import torch

from stedalign.estimation.checks import ImageError, Limits, check_image
from stedalign.estimation.estimate import ACCEPTED, WITH_MODEL_ERROR
from stedalign.estimation.estimator import Estimator
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()
DRIFTING = Nuisances(
    drift_nm=20, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0
)  # fmt: skip
UNITS = pytest.mark.parametrize(("gain", "baseline"), [(1.0, 0.0), (3.0, 100.0), (0.05, 0.0), (20.0, -400.0)])


@UNITS
@pytest.mark.parametrize("photons", [30.0, 350.0])
def test_good_images_are_not_saturated_whatever_their_unit(draw, as_sections, gain, baseline, photons):
    for image in draw(12, photons=photons, background=0.02 * photons)[1]:
        check_image(as_sections(image * gain + baseline))


@UNITS
def test_a_plateau_is_found_whatever_its_unit(draw, as_sections, gain, baseline):
    clipped = draw(1)[1][0].clamp(max=200)
    with pytest.raises(ImageError, match="looks saturated"):
        check_image(as_sections(clipped * gain + baseline))


@pytest.mark.parametrize("part", range(3))
def test_one_constant_section_is_empty(draw, as_sections, part):
    counts = draw(1)[1][0].clone()
    counts[part] = 7.0
    with pytest.raises(ImageError, match=f"the {('xy', 'xz', 'yz')[part]} section is empty"):
        check_image(as_sections(counts))


def test_values_beyond_any_detector_are_refused(as_sections):
    with pytest.raises(ImageError, match="no counts of a detector"):
        check_image(as_sections(np.random.default_rng(0).normal(size=(3, 32, 32)) * 1e16))


def test_what_noise_may_be_is_the_limit_of_the_setup(spec, as_sections):
    model = ForwardModel(spec, MODES)
    truth = torch.zeros(1, len(model.layout), dtype=torch.float64)
    truth[:, model.layout.scale], truth[:, model.layout.background] = 350.0, 7.0
    with torch.no_grad():
        light = model(truth.float())[0].double()
    # A ripple that no effect explains, of 3 % of the crest.
    ripple = 10 * torch.cos(torch.arange(light.shape[-1]) * 0.9)
    counts = torch.poisson(light + ripple + 10, torch.Generator().manual_seed(0))
    grades = [
        Estimator(spec, MODES, nuisances=DRIFTING, limits=Limits(max_reduced_chi2=most))(as_sections(counts)).grade
        for most in (1.15, 50.0)
    ]
    assert grades == [WITH_MODEL_ERROR, ACCEPTED]


@pytest.mark.parametrize(("part", "axis"), [("xy", "z"), ("xz", "y"), ("yz", "x"), ("xz", "x")])
def test_a_section_cut_beside_the_bead_is_refused_with_its_axis_and_distance(spec, as_sections, part, axis):
    model = ForwardModel(spec, MODES, drifting=True)
    truth = torch.zeros(1, len(model.layout), dtype=torch.float64)
    truth[0, :11] = torch.from_numpy(np.random.default_rng(1).normal(size=11) * 0.02)
    truth[:, model.layout.scale], truth[:, model.layout.background] = 350.0, 7.0
    truth[0, model.layout.drift.start + 3 * model.view.parts.index(part) + "xyz".index(axis)] = 180.0
    with torch.no_grad():
        counts = torch.poisson(model(truth.float()), torch.Generator().manual_seed(0))
    reason = Estimator(spec, MODES, nuisances=DRIFTING)(as_sections(counts[0])).reason
    assert reason.startswith(f"the {part} section does not")
    assert f"nm along {axis} from where" in reason
