import numpy as np
import pytest

from stedalign.imaging.detector import Detector
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.imaging.metrics import correlation, crest_uniformity, null_ratio
from stedalign.optics.beam import Beam
from stedalign.optics.patterns import Flat
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.optics.zernike import Mode

MODES = ModeSet.default()


def model(**beam):
    return ForwardModel(ForwardSpec(sampling=Sampling(samples=16, pixel_nm=(80.0,) * 3), beam=Beam(**beam)), MODES)


def one(mode, waves):
    return Wavefront(ModeSet((mode,)), (waves,))


def test_the_perfect_donut_has_a_zero():
    assert null_ratio(model(), Wavefront.zero(MODES)) < 1e-9


def test_the_wrong_handedness_fills_it():
    assert null_ratio(model(polarization=Polarization(ellipticity_deg=-45)), Wavefront.zero(MODES)) > 0.05


def test_astigmatism_of_50_milliwaves_fills_the_focus_by_5_percent_as_published_but_splits_a_darker_zero():
    donut = model()
    found = null_ratio(donut, one(Mode(2, 2), 0.05))
    pupil = donut.focus.pupil
    phase = 2 * np.pi * 0.05 * Mode(2, 2).polynomial(pupil.x, pupil.y)
    center = (np.abs(pupil.field(np.zeros((1, 3)), phase)) ** 2).sum()
    line = np.zeros((2, 401, 3))
    line[0, :, 0] = line[1, :, 1] = np.linspace(-500, 500, 401)
    crest = max((np.abs(pupil.field(points, phase)) ** 2).sum(axis=0).max() for points in line)
    assert center / crest == pytest.approx(0.052, abs=0.005)
    assert 0 < found < center / crest


def test_a_pattern_without_a_zero_has_no_null_ratio():
    assert np.isnan(null_ratio(model(pattern=Flat()), Wavefront.zero(MODES)))


def test_correlation_is_one_for_itself_and_ignores_gain():
    image = np.random.default_rng(0).random((3, 8, 8))
    assert correlation(image, 3 * image + 2) == pytest.approx(1)
    assert correlation(image, -image) == pytest.approx(-1)
    assert np.isnan(correlation(image, np.ones((3, 8, 8))))


def test_a_ring_is_uniform_and_two_lobes_are_not():
    axis = np.arange(64) - 31.5
    radius, angle = np.hypot(*np.meshgrid(axis, axis)), np.arctan2(*np.meshgrid(axis, axis)[::-1])
    ring = np.exp(-((radius - 10) ** 2) / 8)
    assert crest_uniformity(ring) > 0.95
    assert crest_uniformity(ring * (1 + 0.5 * np.cos(2 * angle))) == pytest.approx(1 / 3, abs=0.05)


def test_photon_noise_has_the_mean_and_variance_of_its_expectation():
    detector = Detector(photons=350, background=0.02, read_noise=3.0)
    expected = detector.expected(np.full(20000, 0.5))
    counts = detector.expose(expected, np.random.default_rng(0))
    assert expected[0] == pytest.approx(350 * 0.52)
    assert counts.mean() == pytest.approx(182, abs=0.5)
    assert counts.var() == pytest.approx(182 + 9, rel=0.05)


def test_the_detector_clips_and_counts_in_whole_numbers():
    counts = Detector(saturation=100).expose(np.full(1000, 150.0), np.random.default_rng(0))
    assert counts.max() == 100
    assert (counts == np.rint(counts)).all()


def test_an_even_image_has_no_crest() -> None:
    assert crest_uniformity(np.full((16, 16), 7.0)) == 0
