"""Promises of the estimate of both beams of one scan, on the independent simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stedalign.config import Setup
from stedalign.errors import InputError
from stedalign.estimation.checks import ImageError
from stedalign.estimation.estimator import Estimator
from stedalign.estimation.two_beams import estimate_two_beams
from stedalign.imaging.images import Volume
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.wavefront import Wavefront
from stedalign.simulator.hidden import HiddenExcitation, HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build

APART_NM = (25.0, -40.0, 90.0)
FINE_NM = 1.5
SETUP = Setup()


def wavefront(seed, peak_waves):
    peaks = np.random.default_rng(seed).normal(scale=peak_waves, size=len(SETUP.modes))
    return Wavefront.from_peak_waves(SETUP.modes, peaks)


@pytest.fixture(scope="module")
def hidden():
    return HiddenWorld(
        aberration=wavefront(1, 0.05),
        bead_nm=(10.0, 20.0, -30.0),
        drift_nm=15.0,
        blur_nm=15.0,
        pixel_error=(0.01, 0.01, -0.15),
        excitation=HiddenExcitation(aberration=wavefront(2, 0.03), displacement_nm=APART_NM),
    )


@pytest.fixture(scope="module")
def images(hidden):
    microscope = build(Instrument.of(SETUP), hidden, 4)
    microscope.shutter.open()
    return microscope.source.acquire(), microscope.excitation.acquire()


@pytest.fixture(scope="module")
def estimators():
    forwards = (SETUP.forward, SETUP.forward.model_copy(update={"beam": SETUP.excitation}))
    return [Estimator(forward, SETUP.modes) for forward in forwards]


@pytest.fixture(scope="module")
def both(estimators, images):
    return estimate_two_beams(*estimators, images)


def test_the_foci_lie_apart_as_they_do_within_the_error_bars(both):
    errors = np.subtract(both.overlay.foci_apart_nm, APART_NM)
    assert np.abs(errors / both.overlay.foci_apart_sigma_nm).max() < 3.5
    # Drift between the sections moves both alike: it must not come in.
    assert max(both.overlay.foci_apart_sigma_nm[:2]) < 1.5
    assert both.overlay.foci_apart_sigma_nm[2] < 5


def test_both_wavefronts_are_told_within_their_error_bars(both, hidden):
    for estimate, truth in ((both.depletion, hidden.aberration), (both.excitation, hidden.excitation.aberration)):
        scores = (estimate.wavefront.array - truth.array) / estimate.sigma_waves
        assert np.sqrt(np.square(scores).mean()) < 2


def test_what_belongs_to_the_scan_is_one_number_and_surer_than_from_either(both, estimators, images):
    alone = [estimator(image) for estimator, image in zip(estimators, images, strict=True)]
    value, sigma = both.depletion.nuisances["pixel_error_z"]
    assert both.excitation.nuisances["pixel_error_z"] == pytest.approx((value, sigma), rel=1e-6)
    assert sigma <= min(estimate.nuisances["pixel_error_z"][1] for estimate in alone)
    assert value == pytest.approx(-0.15, abs=4 * sigma)


def test_what_is_told_as_it_is_holds_the_aberrations_and_what_is_corrected_no_more_of_the_zero(both, hidden):
    # As noise-free images of the simulator on fine pixels show them; the places themselves are tested apart.
    still = {"drift_nm": 0.0, "blur_nm": 0.0, "pixel_error": (0.0, 0.0, 0.0)}
    corrected = {"aberration": Wavefront.zero(SETUP.modes)}
    for told, sigma, change in (
        (both.overlay.spot_minus_zero_nm, both.overlay.sigma_nm, {}),
        (both.overlay.after_correction_nm, both.overlay.after_correction_sigma_nm, corrected),
    ):
        truth = distance_in_the_focal_section(hidden.model_copy(update=still | change))
        assert (np.abs(np.subtract(told[:2], truth)) < 3.5 * np.array(sigma[:2]) + FINE_NM).all()


def distance_in_the_focal_section(hidden):
    """Brightest point of the excitation minus the darkest of the depletion beam near its focus, along x and y."""
    fine = SETUP.sampling.model_copy(update={"samples": 192, "pixel_nm": (FINE_NM,) * 3})
    microscope = build(Instrument.of(SETUP).model_copy(update={"sampling": fine}), hidden, 0)
    microscope.shutter.open()
    zero, spot = microscope.truth.intensity()[0], microscope.excitation.world.intensity()[0]
    along = fine.axis_px * FINE_NM
    near_x, near_y = (np.abs(along - place) < 100 for place in hidden.bead_nm[:2])
    zero = np.where(near_y[:, None] & near_x, zero, np.inf)
    (row, column), (up, right) = (np.unravel_index(at, zero.shape) for at in (zero.argmin(), spot.argmax()))
    return along[right] - along[column], along[up] - along[row]


def test_the_centering_moves_the_zero_to_the_spot(both):
    na, wavelength = SETUP.objective.na, SETUP.depletion.wavelength_nm
    tip, tilt, _ = both.overlay.centering.waves
    x, y, _ = both.overlay.after_correction_nm
    np.testing.assert_allclose([tilt, tip], [-x * na / (2 * wavelength), -y * na / (2 * wavelength)])


def test_images_of_other_pixels_are_of_another_scan(estimators, images):
    other = replace(images[1], pixel_nm=(30.0, 30.0, 30.0))
    with pytest.raises(InputError, match="come from one scan, but their pixel sizes differ"):
        estimate_two_beams(*estimators, (images[0], other))


def test_a_saturated_image_is_of_a_beam_that_is_named(estimators, images):
    clipped = replace(images[1], saturation=float(images[1].data.max()))
    with pytest.raises(ImageError, match="excitation beam: the image is saturated"):
        estimate_two_beams(*estimators, (images[0], clipped))


def test_volumes_whose_planes_are_unsteady_are_refused():
    volume = Volume(np.zeros((8, 8, 8)), (40.0, 40.0, 80.0))
    unsteady = Estimator(SETUP.forward, SETUP.modes, nuisances=Nuisances(plane_flux=0.03))
    with pytest.raises(InputError, match="set plane_flux and plane_wobble_nm to 0"):
        estimate_two_beams(unsteady, unsteady, (volume, volume))
