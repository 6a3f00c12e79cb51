"""Promises of the hidden world: what blurs, stretches and doubles the simulated image."""

from __future__ import annotations

import numpy as np
import pytest

from stedalign.imaging.detector import Bead
from stedalign.imaging.images import Sampling
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.simulator.hidden import HiddenWorld, draw_hidden
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build
from stedalign.spec import SpecError

MODES = ModeSet.default()
HIDDEN = draw_hidden(MODES, np.random.default_rng(4))
SAMPLING = Sampling(samples=16, pixel_nm=(70.0, 60.0, 80.0))
SECTION_AXES = ((1, 0), (2, 0), (2, 1))


def make(*, sampling=SAMPLING, diameter_nm=0.0, **hidden):
    """A simulated microscope with an open shutter whose hidden world differs in ``hidden``."""
    instrument = Instrument(sampling=sampling, bead=Bead(diameter_nm=diameter_nm))
    microscope = build(instrument, HiddenWorld(**(dict(HIDDEN) | hidden)), seed=0)
    microscope.shutter.open()
    return microscope


def averaged(spots_nm, sigma_nm, diameter_nm):
    """The Gaussian average of the sharp intensity around each spot, point by point over +-5.25 sigma."""
    steps = 0.75 * np.arange(-7, 8)
    gauss = np.exp(-(steps**2) / 2) / np.exp(-(steps**2) / 2).sum()
    microscope = make(sampling=Sampling(samples=15, pixel_nm=(0.75 * sigma_nm,) * 3), diameter_nm=diameter_nm)
    found = []
    for spot in spots_nm:
        microscope.stage.move_to_nm(*spot)
        found.append(np.einsum("zyx,z,y,x->", microscope.truth.volume(), gauss, gauss, gauss))
    return np.array(found)


@pytest.mark.parametrize(
    ("sigma_nm", "diameter_nm", "row", "column"),
    [(8.0, 0.0, 0, 15), (30.0, 80.0, 6, 10), (100.0, 0.0, 9, 5)],
)
def test_the_blur_is_the_average_over_displaced_points(sigma_nm, diameter_nm, row, column):
    sections = make(blur_nm=sigma_nm, diameter_nm=diameter_nm).truth.intensity()
    spots = np.zeros((3, 3))
    for spot, (down, right) in zip(spots, SECTION_AXES, strict=True):
        spot[[down, right]] = SAMPLING.axis_px[[row, column]] * np.array(SAMPLING.pixel_nm)[[down, right]]
    expected = averaged(spots, sigma_nm, diameter_nm)
    assert np.allclose(sections[:, row, column], expected, rtol=0, atol=2e-5)


def test_no_blur_no_error_and_no_second_bead_change_no_bit():
    plain = build(Instrument(sampling=SAMPLING), HIDDEN, seed=0)
    plain.shutter.open()
    told = make(diameter_nm=80.0, blur_nm=0.0, pixel_error=(0.0, 0.0, 0.0), second_bead_nm=None)
    assert np.array_equal(plain.source.acquire().data, told.source.acquire().data)


def test_an_error_of_the_pixels_stretches_the_axes_and_leaves_the_declared_size():
    errors = (0.1, -0.05, 0.2)
    stretched = tuple(size * (1 + error) for size, error in zip(SAMPLING.pixel_nm, errors, strict=True))
    wrong = make(pixel_error=errors)
    true = make(sampling=Sampling(samples=16, pixel_nm=stretched))
    assert np.allclose(wrong.truth.intensity(), true.truth.intensity(), rtol=0, atol=1e-12)
    assert wrong.source.acquire().pixel_nm == SAMPLING.pixel_nm


def test_a_stage_that_follows_the_bead_in_true_nm_centers_it_whatever_the_pixels():
    odd = Sampling(samples=15, pixel_nm=SAMPLING.pixel_nm)
    centered, followed = make(sampling=odd, bead_nm=(0.0, 0.0, 0.0)), make(sampling=odd, pixel_error=(0.3, 0.3, 0.3))
    followed.stage.move_to_nm(*HIDDEN.bead_nm)
    middle = np.s_[:, 7, 7]
    assert np.allclose(followed.truth.intensity()[middle], centered.truth.intensity()[middle], rtol=0, atol=1e-9)


def test_a_second_bead_adds_its_own_image():
    second = (250.0, -80.0, 130.0)
    moved = tuple((np.array(HIDDEN.bead_nm) + second).tolist())
    both = make(second_bead_nm=second).truth.intensity()
    assert np.allclose(both, make().truth.intensity() + make(bead_nm=moved).truth.intensity(), rtol=0, atol=1e-12)


def test_the_volume_holds_the_sections_of_a_blurred_stretched_pair():
    odd = Sampling(samples=9, pixel_nm=(60.0, 60.0, 80.0))
    world = make(sampling=odd, blur_nm=40.0, pixel_error=(0.1, 0.0, -0.1), second_bead_nm=(150.0, 90.0, -100.0)).truth
    volume = world.volume()
    assert np.allclose(world.intensity(), [volume[4], volume[:, 4], volume[:, :, 4]], rtol=0, atol=3e-5)


def test_the_darkest_point_of_a_hardly_blurred_zero_can_still_be_counted():
    world = make(
        sampling=Sampling(samples=16, pixel_nm=(20.0, 20.0, 20.0)),
        aberration=Wavefront.zero(MODES),
        bead_nm=(50.0, 50.0, 0.0),
        blur_nm=1e-3,
    ).truth
    assert world.intensity().min() >= 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blur_nm": 100.5}, "blur_nm = 100.5: Input should be less than or equal to 100"),
        ({"blur_nm": -1.0}, "blur_nm = -1.0: Input should be greater than or equal to 0"),
        ({"pixel_error": (0.0, 0.6, 0.0)}, "pixel_error (0.0, 0.6, 0.0) must lie between -0.5 and 0.5 along each axis"),
        ({"second_bead_nm": (0.0, float("nan"), 0.0)}, "second_bead_nm (0.0, nan, 0.0) must lie within ±1e+09 nm"),
    ],
)
def test_a_world_that_cannot_be_is_refused_in_one_line(changes, words):
    with pytest.raises(SpecError) as refusal:
        HiddenWorld.parse({"aberration": HIDDEN.aberration, **changes})
    assert str(refusal.value) == words
