"""What a setup has to ask for, found in images of the simulated microscope, which has other code for it."""

import numpy as np
import pytest

from stedalign.estimation.effects import HALVES
from stedalign.estimation.estimator import Estimator
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import OrthoSections, Sampling
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.wavefront import ModeSet
from stedalign.simulator.hidden import draw_hidden
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build

MODES = ModeSet.default()
SAMPLING = Sampling(samples=32, pixel_nm=(55.0, 55.0, 60.0))
KNOWN = Nuisances(
    drift_nm=0, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0
)  # fmt: skip
ASKED = {
    "halves": (
        {"halves_offset": 0.05, "halves_tilt": 0.05},
        {"halves_offset": (0.1, 0.03), "halves_tilt": (0.03, -0.06)},
        {"halves_offset_x": 0.1, "halves_offset_y": 0.03, "halves_tilt_x": 0.03, "halves_tilt_y": -0.06},
    ),
    "shear": ({"shear": 0.02}, {"shear": (0.03, -0.02)}, {"shear_x": 0.03, "shear_y": -0.02}),
    "bead": ({"bead_diameter_nm": 20.0}, {"bead_diameter_nm": 120.0}, {"bead_larger_nm": 40.0}),
}
"""Settings, what the microscope hides, and the parameters that tell of it."""


@pytest.mark.parametrize("name", ASKED)
def test_what_a_setup_asks_for_is_found_as_the_simulated_microscope_has_it(name):
    settings, hidden, truth = ASKED[name]
    bead = Bead(diameter_nm=80.0 if name == "bead" else 0.0)
    world = draw_hidden(MODES, np.random.default_rng(3), peak_waves_sigma=0.05)
    world = world.model_copy(update={"bead_nm": (20.0, -10.0, 30.0), **hidden})
    microscope = build(Instrument(sampling=SAMPLING, bead=bead), world, 0)
    microscope.shutter.open()
    counts = np.random.default_rng(0).poisson(1500 * microscope.truth.intensity() + 20).astype(float)
    estimator = Estimator(
        ForwardSpec(sampling=SAMPLING, bead=bead),
        MODES,
        nuisances=KNOWN.model_copy(update=settings),
        detector=Detector(gain=1.0, baseline=0.0, read_noise=0.0),
    )
    found = estimator(OrthoSections(counts, SAMPLING.pixel_nm))
    assert found.grade == "accepted", found.reason
    assert (HALVES in found.effects) == (name == "halves")
    for parameter, value in truth.items():
        told, sigma = found.nuisances[parameter]
        assert abs(told - value) < 4 * sigma + 0.03 * abs(value), parameter
        assert sigma < 0.5 * abs(value), parameter
    assert np.abs((found.wavefront.array - world.aberration.array) / found.sigma_waves).max() < 4.5
