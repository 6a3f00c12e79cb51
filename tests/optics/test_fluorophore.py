import numpy as np
import pytest

from stedalign.focusing.pupil_quadrature import sample_pupil
from stedalign.optics.beam import Beam
from stedalign.optics.fluorophore import Fluorophore, watts_per_cm2
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat


def test_the_saturation_intensity_leaves_half():
    for law in ("pulsed", "cw"):
        assert Fluorophore(law=law).remaining(np.array([0.0, 10e6])) == pytest.approx([1.0, 0.5])


def test_pulsed_light_quenches_exponentially_and_continuous_light_hyperbolically():
    intensity = np.array([10e6 * 4])
    assert Fluorophore(law="pulsed").remaining(intensity) == pytest.approx([1 / 16])
    assert Fluorophore(law="cw").remaining(intensity) == pytest.approx([1 / 5])


def test_a_low_na_spot_has_the_peak_intensity_of_the_airy_pattern():
    # I0 = P pi NA^2 / wavelength^2 (Born and Wolf, section 8.5.2).
    objective = Objective(na=0.1, immersion_index=1.0, focal_length_mm=10, back_aperture_mm=2)
    beam = Beam(pattern=Flat(), power_w=2.0, transmittance=0.5)
    pupil = sample_pupil(objective, beam, 20, 24)
    peak = pupil.intensity(np.zeros((1, 3)))[0] * watts_per_cm2(pupil.power, objective, beam)
    assert peak == pytest.approx(1.0 * np.pi * 0.1**2 / (775e-7) ** 2, rel=0.01)


def test_pulses_concentrate_the_mean_power():
    beam = Beam(pattern=Flat(), repetition_rate_hz=40e6, pulse_length_s=0.7e-9)
    mean, pulsed = (watts_per_cm2(1.0, Objective(), beam, law) for law in ("cw", "pulsed"))
    assert pulsed / mean == pytest.approx(1 / (40e6 * 0.7e-9))
