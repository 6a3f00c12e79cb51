import numpy as np
import pytest

import stedalign as sa
from stedalign.imaging.images import Sampling

SETUP = sa.Setup(sampling=Sampling(samples=33, pixel_nm=(25.0, 25.0, 50.0)))


def width_nm(profile, pixel_nm):
    above = np.flatnonzero(profile > profile.max() / 2)
    return (above[-1] - above[0] + 1) * pixel_nm


def test_every_public_name_can_be_had():
    for name in sa.__all__:
        assert callable(getattr(sa, name)) or name == "__version__"
    assert set(sa.__all__) <= set(dir(sa))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fokus'"):
        _ = sa.fokus


def test_the_focus_of_a_perfect_donut_is_dark_inside_a_crest_of_one():
    donut = sa.focus(SETUP, sa.Wavefront.zero(SETUP.modes))
    assert donut.data.max() == pytest.approx(1, abs=1e-6)
    assert donut.data[0, 16, 16] < 1e-6


def test_depletion_sharpens_the_excitation_spot_and_astigmatism_dims_it():
    weak = SETUP.model_copy(update={"depletion": SETUP.depletion.model_copy(update={"power_w": 1e-9})})
    zero = sa.Wavefront.zero(SETUP.modes)
    confocal, sted = sa.effective_spot(weak, zero), sa.effective_spot(SETUP, zero)
    assert width_nm(sted.data[0, 16], 25) < 0.5 * width_nm(confocal.data[0, 16], 25)
    assert sted.data[0, 16, 16] == pytest.approx(1, abs=0.01)
    astigmatic = sa.effective_spot(SETUP, sa.Wavefront(sa.ModeSet.of([(2, 2)]), (0.05,)))
    assert astigmatic.data[0, 16, 16] < 0.7
