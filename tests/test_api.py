import numpy as np
import pytest

import stedalign as sa
from stedalign.errors import InputError
from stedalign.imaging.images import Sampling
from stedalign.jobs.mask import correction_levels

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


ZERO = sa.Wavefront.zero(SETUP.modes)
STRONG = sa.Wavefront(sa.ModeSet.of([(2, 2)]), (5.0,))


@pytest.mark.parametrize(
    "call",
    [
        lambda: sa.focus(SETUP, STRONG),
        lambda: sa.focus_on(SETUP, STRONG, SETUP.sampling.targets()[0]),
        lambda: sa.effective_spot(SETUP, STRONG * 1e300),
        lambda: sa.bound(SETUP, STRONG),
        lambda: sa.bound(SETUP, [ZERO, STRONG]),
        lambda: correction_levels(SETUP, STRONG),
    ],
)
def test_a_wavefront_beyond_range_is_refused_before_anything_is_computed(call):
    with pytest.raises(InputError, match="beyond range, at most 2 can be served"):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sa.estimate([1, 2], SETUP), "sa.estimate wants an Image, got a list"),
        (lambda: sa.estimate(sa.focus(SETUP, ZERO), "setup.toml"), "sa.estimate wants a Setup, got a str"),
        (lambda: sa.focus(SETUP, [0.1]), "sa.focus wants a Wavefront, got a list"),
        (lambda: sa.focus(ZERO, SETUP), "sa.focus wants a Setup, got a Wavefront"),
        (lambda: sa.focus_on(SETUP, ZERO, "xy"), "sa.focus_on wants a Grid or a Points, got a str"),
        (lambda: sa.effective_spot(SETUP, 0.1), "sa.effective_spot wants a Wavefront, got a float"),
        (lambda: sa.bound("setup.toml"), "sa.bound wants a Setup, got a str"),
        (lambda: sa.bound(SETUP, 0.1), "sa.bound wants a Wavefront or a Sequence, got a float"),
        (lambda: sa.bound(SETUP, [0.1]), "sa.bound wants a Wavefront, got a float"),
        (lambda: sa.align("simulated", SETUP), "sa.align wants a Microscope, got a str"),
        (lambda: sa.load_stack(5), "sa.load_stack wants a str or a PathLike, got an int"),
        (lambda: sa.inspect(5), "sa.inspect wants a str or a PathLike, got an int"),
        (lambda: sa.load_sections("xy.tif"), "sa.load_sections wants a Mapping, got a str"),
        (lambda: sa.load_sections({"xy": 5}), "sa.load_sections wants a str or a PathLike, got an int"),
        (lambda: sa.load_microscope(5, SETUP), "sa.load_microscope wants a str, got an int"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_what_is_wanted(call, words):
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == words
