import numpy as np
import pytest
import torch

from stedalign.estimation.centering import centering_wavefront, displacement_nm
from stedalign.focusing.focus import Focus
from stedalign.imaging.images import OrthoSections, Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat
from stedalign.optics.wavefront import Wavefront
from stedalign.optics.zernike import Mode

SAMPLING = Sampling(samples=32, pixel_nm=(60.0, 60.0, 60.0))


def image(objective, beam, wavefront, shift_nm=(0.0, 0.0, 0.0), sampling=SAMPLING):
    plan = Focus(objective, beam, wavefront.modes, sampling.targets(), tolerance=1e-4)
    planes = torch.cat(plan(torch.tensor([[*wavefront.waves, *shift_nm]])))
    return OrthoSections(planes.reshape(3, sampling.samples, -1).numpy(), sampling.pixel_nm)


@pytest.mark.parametrize("shift", [(90.0, 0.0, 0.0), (0.0, -70.0, 0.0), (40.0, 30.0, 0.0)])
def test_the_center_of_mass_of_a_moved_donut_is_where_it_was_moved_to(shift):
    found = displacement_nm(image(Objective(), Beam(), Wavefront.zero(centering().modes), shift))
    np.testing.assert_allclose(found, shift, atol=12)


def test_an_axially_moved_donut_is_seen_on_the_right_side():
    found = displacement_nm(image(Objective(), Beam(), Wavefront.zero(centering().modes), (0.0, 0.0, 200.0)))
    assert 80 < found[2] <= 220
    assert abs(found[0]) < 5


def centering(displacement=(0.0, 0.0, 0.0)):
    return centering_wavefront(displacement, Objective(), 775.0)


def test_tip_and_tilt_from_the_formula_bring_a_displaced_donut_back():
    displaced = image(Objective(), Beam(), centering((120.0, -80.0, 0.0)), (120.0, -80.0, 0.0))
    still = image(Objective(), Beam(), centering())
    np.testing.assert_allclose(displaced.data, still.data, atol=1e-3)


def test_defocus_from_the_formula_brings_a_low_na_focus_back():
    objective = Objective(na=0.3, immersion_index=1.0, focal_length_mm=10, back_aperture_mm=6)
    beam, far = Beam(pattern=Flat()), 5000.0
    sampling = Sampling(samples=33, pixel_nm=(200.0, 200.0, 600.0))
    wavefront = centering_wavefront((0.0, 0.0, far), objective, 775.0)
    moved = image(objective, beam, wavefront, (0.0, 0.0, far), sampling)
    still = image(objective, beam, Wavefront.zero(wavefront.modes), sampling=sampling)
    np.testing.assert_allclose(moved.data, still.data, atol=0.03)


def test_defocus_has_the_low_na_limit_of_the_textbook():
    objective = Objective(na=0.1, immersion_index=1.0, focal_length_mm=10, back_aperture_mm=2)
    found = centering_wavefront((0.0, 0.0, 1000.0), objective, 775.0)
    assert found.modes.modes[2] == Mode(2, 0)
    assert found.waves[2] == pytest.approx(-1000 * 0.1**2 / (4 * np.sqrt(3) * 775), rel=0.01)
