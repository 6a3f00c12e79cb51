import numpy as np
import pytest
import torch

from stedalign.config import Setup
from stedalign.estimation.checks import ImageError, Limits, check_image
from stedalign.estimation.estimate import ACCEPTED
from stedalign.estimation.estimator import Estimator
from stedalign.imaging.detector import Detector
from stedalign.imaging.images import OrthoSections
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build

MODES = ModeSet.default()
KNOWN = Nuisances(
    drift_nm=0, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0
)  # fmt: skip


@pytest.fixture(scope="module")
def estimator(spec):
    return Estimator(spec, MODES, nuisances=KNOWN)


@pytest.fixture(scope="module")
def case(estimator, draw, as_sections):
    truth, counts = draw(1, seed=3)
    return truth[0].numpy(), as_sections(counts[0]), estimator(as_sections(counts[0]))


def test_the_estimate_lies_within_its_sigmas_of_the_truth(case):
    truth, _, found = case
    assert np.abs((found.wavefront.array - truth[:11]) / found.sigma_waves).max() < 4
    assert found.accepted
    assert found.reason == ""


def test_shift_photons_and_background_are_found_too(case):
    truth, _, found = case
    np.testing.assert_allclose(found.shift_nm, truth[11:14], atol=5)
    np.testing.assert_allclose(found.photons, truth[14:17], rtol=0.05)
    np.testing.assert_allclose(found.background, truth[17:20], rtol=0.1)


def test_the_reconstruction_explains_the_image(case):
    _, sections, found = case
    residual = (sections.data - found.reconstruction) / np.sqrt(found.reconstruction)
    assert residual.std() == pytest.approx(1, abs=0.05)
    assert found.correlation > 0.97


def test_the_json_has_the_promised_keys(case):
    promised = {"modes", "waves", "sigma_waves", "rms_waves", "reduced_chi2", "accepted", "null_ratio"}
    assert promised <= set(case[2].to_json())


def test_the_null_of_an_aberrated_donut_is_brighter_than_that_of_a_perfect_one(estimator, draw, as_sections):
    _, aberrated = draw(1, strength=0.1, seed=3)
    _, perfect = draw(1, strength=0.0, seed=3)
    assert estimator(as_sections(perfect[0])).null_ratio < 1e-3
    assert estimator(as_sections(aberrated[0])).null_ratio > estimator(as_sections(perfect[0])).null_ratio


def test_astigmatism_makes_the_crest_uneven(estimator, model, draw, as_sections):
    truth, perfect = draw(1, strength=0.0, seed=3)
    assert estimator(as_sections(perfect[0])).crest_uniformity > 0.9
    truth[0, 1] = 0.06
    with torch.no_grad():
        astigmatic = torch.poisson(model(truth.float()), torch.Generator().manual_seed(0))
    assert estimator(as_sections(astigmatic[0])).crest_uniformity < 0.8


def test_a_focus_of_the_wrong_handedness_is_refused_with_a_reason(spec, draw, as_sections):
    _, counts = draw(1, strength=0.02, seed=1)
    wrong = spec.model_copy(
        update={"beam": spec.beam.model_copy(update={"polarization": Polarization(ellipticity_deg=-45)})}
    )
    found = Estimator(wrong, MODES, nuisances=KNOWN)(as_sections(counts[0]))
    assert not found.accepted
    assert "does not look like this setup's focus" in found.reason


def test_limits_decide_what_is_trusted(spec, draw, as_sections):
    _, counts = draw(1, seed=3)
    strict = Estimator(spec, MODES, nuisances=KNOWN, limits=Limits(max_rms_waves=0.01))
    assert "beyond" in strict(as_sections(counts[0])).reason


@pytest.mark.parametrize("level", [1.0, 40.0])
def test_a_constant_image_is_empty(as_sections, level):
    with pytest.raises(ImageError, match="empty"):
        check_image(as_sections(np.full((3, 32, 32), level)))


def test_an_image_of_noise_alone_is_empty(as_sections):
    with pytest.raises(ImageError, match="empty"):
        check_image(as_sections(np.random.default_rng(0).poisson(20.0, size=(3, 32, 32)).astype(float)))


def test_an_image_at_the_saturation_level_is_refused(draw, as_sections):
    _, counts = draw(1)
    clipped = counts[0].clamp(max=200)
    with pytest.raises(ImageError, match="saturated"):
        check_image(as_sections(clipped, saturation=200.0))


def test_a_plateau_is_refused_even_where_the_saturation_level_is_unknown(draw, as_sections):
    _, counts = draw(1)
    with pytest.raises(ImageError, match="looks saturated"):
        check_image(as_sections(counts[0].clamp(max=200)))


@pytest.mark.parametrize("photons", [30.0, 350.0, 3000.0])
def test_good_images_pass_the_check(draw, as_sections, photons):
    for image in draw(20, photons=photons, background=0.02 * photons)[1]:
        check_image(as_sections(image))


def test_an_image_of_another_sampling_gets_a_model_of_its_own(spec, estimator, draw, as_sections):
    truth, counts = draw(1, seed=3)
    cropped = OrthoSections(counts[0].numpy()[:, 4:-4, 4:-4], (60.0, 60.0, 60.0))
    found = estimator(cropped)
    assert found.reconstruction.shape == (3, 24, 24)
    assert np.linalg.norm(found.wavefront.array - truth[0, :11].numpy()) < 0.01


@pytest.mark.parametrize(
    ("gain", "baseline", "noise"), [(0.05, 0.0, 0.0), (3.0, 100.0, 0.0), (1.0, -20.0, 8.0), (20.0, 1000.0, 90.0)]
)
def test_any_detector_is_estimated_as_well_as_a_counter_of_photons(estimator, case, gain, baseline, noise):
    truth, image, counted = case
    electronics = np.random.default_rng(0).normal(scale=max(noise, 1e-9), size=image.data.shape)
    found = estimator(OrthoSections(image.data * gain + baseline + electronics, image.pixel_nm))
    error = np.linalg.norm(found.wavefront.array - truth[:11])
    assert found.grade == ACCEPTED
    assert found.reading.gain == pytest.approx(gain, rel=0.3)
    assert error < 3 * np.linalg.norm(counted.sigma_waves) * max(1.0, noise / gain / 3)


def test_a_detector_of_which_all_is_known_refuses_noise_smaller_than_its_own(spec, draw, as_sections):
    _, counts = draw(1, seed=3)
    counter = Detector(gain=1.0, baseline=0.0, read_noise=0.0)
    found = Estimator(spec, MODES, nuisances=KNOWN, detector=counter)(as_sections(counts[0] * 0.25))
    assert not found.accepted
    assert "smaller than this detector's" in found.reason


def test_an_instrument_that_differs_from_its_setup_is_still_estimated(spec):
    setup = Setup(sampling=spec.sampling)
    aberration = Wavefront.from_peak_waves(MODES, np.random.default_rng(0).normal(scale=0.05, size=len(MODES)))
    hidden = HiddenWorld(
        aberration=aberration,
        fill=1.1,
        mask_shift=(0.05, -0.03),
        ellipticity_error_deg=4,
        drift_nm=10,
        blur_nm=20,
        pixel_error=(0.01, -0.01, 0.01),
    )
    microscope = build(Instrument.of(setup), hidden, seed=0)
    microscope.shutter.open()
    image = microscope.source.acquire()
    free, known = Estimator(spec, MODES)(image), Estimator(spec, MODES, nuisances=KNOWN)(image)
    assert free.accepted
    assert np.linalg.norm(free.wavefront.array - aberration.array) < 0.005
    assert np.linalg.norm(known.wavefront.array - aberration.array) > 0.008
    offset = [free.nuisances[f"mask_offset_{axis}"][0] for axis in "xy"]
    np.testing.assert_allclose(offset, hidden.mask_shift, atol=0.01)


def test_a_bead_at_the_edge_is_refused_as_cut_off(estimator, model, draw, as_sections):
    truth, _ = draw(1, strength=0.03)
    truth[0, model.layout.shift] = torch.tensor([800.0, 0.0, 0.0], dtype=torch.float64)
    with torch.no_grad():
        counts = torch.poisson(model(truth.float()), torch.Generator().manual_seed(0))
    assert "cut off at the +x edge" in estimator(as_sections(counts[0])).reason


def test_an_image_that_tells_too_little_is_too_dim(spec, draw, as_sections):
    _, counts = draw(1, seed=3)
    strict = Estimator(spec, MODES, nuisances=KNOWN, limits=Limits(max_sigma_waves=1e-4))
    assert "too dim" in strict(as_sections(counts[0])).reason


def test_images_together_give_what_each_gives_alone(estimator, draw, as_sections):
    _, counts = draw(3, seed=5)
    images = [as_sections(image) for image in counts]
    empty = as_sections(np.full((3, 32, 32), 7.0))
    first, refused, *others = estimator.all([images[0], empty, *images[1:]])
    assert isinstance(refused, ImageError)
    for found, image in zip([first, *others], images, strict=True):
        alone = estimator(image)
        np.testing.assert_allclose(found.wavefront.array, alone.wavefront.array, atol=2e-4)
        assert found.accepted


def test_weak_and_strong_wavefronts_can_be_estimated_together(estimator, draw, as_sections):
    """Each by the model for its strength, in the order in which they came."""
    images = [as_sections(draw(1, strength=strength, seed=4)[1][0]) for strength in (0.3, 0.05, 0.25)]
    together = estimator.all(images)
    assert [found.rms_waves > 0.2 for found in together] == [True, False, True]
    for found, image in zip(together, images, strict=True):
        np.testing.assert_allclose(found.wavefront.array, estimator(image).wavefront.array, atol=2e-4)
