"""Volumes of the simulated microscope whose planes flicker and wobble."""

import numpy as np
import pytest

from stedalign.estimation.checks import Limits
from stedalign.estimation.estimator import Estimator
from stedalign.estimation.recording import record
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling, Volume
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.wavefront import ModeSet
from stedalign.simulator.hidden import draw_hidden
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build

MODES = ModeSet.default()
SAMPLING = Sampling(samples=20, pixel_nm=(90.0, 90.0, 120.0))
SPEC = ForwardSpec(sampling=SAMPLING, bead=Bead(diameter_nm=0))
KNOWN = Nuisances(
    drift_nm=0, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0
)  # fmt: skip
IMAGES = 4


@pytest.fixture(scope="module")
def volumes():
    """Each with its true wavefront: planes of 3 % other light, 5 nm beside each other."""
    instrument = Instrument(sampling=SAMPLING, bead=SPEC.bead)
    drawn = []
    for seed in range(IMAGES):
        hidden = draw_hidden(MODES, np.random.default_rng(seed), peak_waves_sigma=0.05)
        microscope = build(instrument, hidden.model_copy(update={"flicker": 0.03, "wobble_nm": 5.0}), seed)
        microscope.shutter.open()
        photons = 6000 * microscope.truth.volume() + 60
        counts = np.random.default_rng(seed).poisson(photons).astype(float)
        drawn.append((Volume(counts, SAMPLING.pixel_nm), hidden.aberration.array))
    return drawn


def scores(volumes, nuisances):
    """Squared errors (images, modes), and the same over the variances that the estimates say."""
    known = Detector(gain=1.0, baseline=0.0, read_noise=0.0)
    # Nothing is searched for in those that the model of steady planes does not explain.
    limits = Limits(max_reduced_chi2=10, search_generations=0)
    estimator = Estimator(SPEC, MODES, nuisances=nuisances, detector=known, limits=limits)
    found = [estimator(volume) for volume, _ in volumes]
    squares = np.array([(each.wavefront.array - truth) ** 2 for each, (_, truth) in zip(found, volumes, strict=True)])
    return squares, squares / np.array([np.square(each.sigma_waves) for each in found]), found


def test_planes_of_their_own_make_volumes_that_flicker_and_wobble_right(volumes):
    steady, _, poor = scores(volumes, KNOWN)
    unsteady = KNOWN.model_copy(update={"plane_flux": 0.03, "plane_wobble_nm": 5.0})
    squares, in_sigmas, found = scores(volumes, unsteady)
    assert all(each.accepted for each in found)
    assert squares.sum() < 0.6 * steady.sum()
    assert in_sigmas.mean() < 2.5
    assert max(each.reduced_chi2 for each in found) < 1.1 < min(each.reduced_chi2 for each in poor)
    assert min(each.correlation for each in found) > max(each.correlation for each in poor)


def test_a_detector_is_read_from_planes_that_flicker(volumes):
    volume, _ = volumes[0]
    misled, read = (record(volume, SPEC, Detector(gain=1.0), unsteady=unsteady) for unsteady in (False, True))
    light = float(read.observed.counts.mean())
    assert float(read.observed.extra.mean()) < 0.05 * light < float(misled.observed.extra.mean())
