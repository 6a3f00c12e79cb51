import math

import pytest
import torch
from pydantic import ValidationError

from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.imaging.nuisances import Nuisances, Prior
from stedalign.optics.beam import Beam
from stedalign.optics.patterns import Flat, Vortex
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.from_ansi([3, 5])
KNOWN = Nuisances(
    drift_nm=0, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0
)  # fmt: skip


def model(nuisances, beam=None):
    spec = ForwardSpec(beam=beam or Beam(), sampling=Sampling(samples=16, pixel_nm=(100.0,) * 3))
    drifting = nuisances.drift_nm > 0
    return ForwardModel(spec, MODES, free=nuisances.free(spec.beam), drifting=drifting, tolerance=1e-2)


def test_nothing_is_free_in_a_known_instrument():
    assert KNOWN.free(Beam()) == {}
    made = model(KNOWN)
    assert not Prior.of(made, KNOWN).precision.any()


def test_each_free_parameter_has_the_precision_of_its_standard_deviation():
    nuisances = KNOWN.model_copy(update={"mask_offset": 0.05, "drift_nm": 10.0, "blur_nm": 20.0})
    made = model(nuisances)
    prior = Prior.of(made, nuisances)
    found = dict(zip(made.layout.names, prior.precision.tolist(), strict=True))
    assert found["mask offset x"] == pytest.approx(0.05**-2)
    assert found["blur nm2"] == pytest.approx(20.0**-4)
    assert found["drift xz z"] == pytest.approx(0.01)
    assert found["vertical astigmatism"] == found["shift x"] == found["scale xy"] == 0


def test_what_is_not_known_at_all_has_bounds_but_no_preference():
    nuisances = KNOWN.model_copy(update={"mask_offset": math.inf})
    made = model(nuisances)
    prior = Prior.of(made, nuisances)
    assert not prior.precision.any()
    assert torch.isfinite(prior.highest[made.layout.free]).all()


def test_blur_and_taper_are_never_negative():
    nuisances = Nuisances()
    made = model(nuisances)
    lowest = dict(zip(made.layout.names, Prior.of(made, nuisances).lowest.tolist(), strict=True))
    assert lowest["blur nm2"] == lowest["taper"] == 0


@pytest.mark.parametrize("key", ["drift_nm", "fill_center", "ellipticity_deg"])
def test_what_no_image_tells_by_itself_cannot_be_quite_unknown(key):
    with pytest.raises(ValidationError):
        Nuisances(**{key: math.inf})


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.1, -0.05)])
def test_the_mask_of_an_annular_beam_moves_as_far_as_the_focus_follows(offset):
    beam = Beam(stop_radius=0.3, pattern=Vortex(mask_offset=offset))
    nuisances = KNOWN.model_copy(update={"mask_offset": 0.08})
    x, y = (nuisances.free(beam)[f"mask_offset_{axis}"] for axis in "xy")
    assert 0.25 < math.hypot(abs(offset[0]) + x, abs(offset[1]) + y) < 0.3
    model(nuisances, beam)


def test_a_mask_at_the_edge_of_the_stop_is_not_free():
    beam = Beam(stop_radius=0.3, pattern=Vortex(mask_offset=(0.298, 0.0)))
    assert Nuisances(mask_offset=0.08).free(beam).keys().isdisjoint({"mask_offset_x", "mask_offset_y"})


def test_a_beam_without_a_mask_has_no_mask_offset():
    free = Nuisances().free(Beam(pattern=Flat()))
    assert not any(name.startswith("mask_offset") for name in free)
    assert "taper" in free


@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_standard_deviation_is_no_less_than_zero(value):
    with pytest.raises(ValidationError):
        Nuisances(blur_nm=value)
