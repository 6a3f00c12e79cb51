import numpy as np
import pytest
import torch

import stedalign as sa
from stedalign.estimation import acquisition
from stedalign.estimation.acquisition import acquisition_bounds, random_wavefronts
from stedalign.estimation.bound import BLIND_WAVES, covariance, cramer_rao, fisher_information
from stedalign.focusing.focus import Focus
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import Sampling
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.targets import Points, section
from stedalign.optics.zernike import Mode

SAMPLES, PIXEL = 16, 110.0
SETUP = sa.Setup(
    sampling=Sampling(samples=SAMPLES, pixel_nm=(PIXEL,) * 3),
    bead=Bead(diameter_nm=0.0),
    nuisances=Nuisances(mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0),
)
MODES = SETUP.modes
WAVEFRONT = random_wavefronts(MODES, 0.12, 1, np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def found():
    return sa.bound(SETUP, WAVEFRONT)


@pytest.fixture(scope="module")
def unaberrated():
    return sa.bound(SETUP, volume=False).images


@pytest.fixture(scope="module")
def uneven():
    """Another beam than the default one, other pixels, noise, and the bound."""
    setup = SETUP.model_copy(
        update={
            "sampling": Sampling(samples=SAMPLES, pixel_nm=(PIXEL, PIXEL, 250.0)),
            "depletion": SETUP.depletion.model_copy(update={"fill": 1.2}),
            "nuisances": SETUP.nuisances.model_copy(update={"taper": 0.2}),
            "detector": Detector(read_noise=5.0),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        # A small volume, too, is to be weighed part by part.
        patch.setattr(acquisition, "PIXELS_AT_ONCE", 1000)
        return setup, sa.bound(setup, WAVEFRONT, photons=200.0, background=0.05)


def known(setup=SETUP, wavefront=WAVEFRONT, photons=None, background=None):
    return sa.bound(setup, wavefront, photons, background, volume=False).images["sections"].known.rms


def test_three_sections_never_know_less_than_xy_alone_nor_a_volume_less_than_them(found):
    xy, sections, volume = (found.images[name] for name in ("xy", "sections", "volume"))
    assert (sections.known.rms <= xy.known.rms).all()
    assert (sections.unsure.rms <= xy.unsure.rms).all()
    assert (volume.known.rms <= sections.known.rms).all()


def test_what_is_unknown_never_lowers_the_bound(found):
    for image in found.images.values():
        assert (image.unsure.rms >= image.known.rms).all()
        assert image.unsure.rms_total > 1.01 * image.known.rms_total


def test_the_bound_of_a_known_instrument_is_that_of_its_forward_model(uneven):
    setup, found = uneven
    model = ForwardModel(setup.forward, MODES)
    parameters = torch.zeros(1, len(model.layout))
    parameters[:, : len(MODES)] = torch.from_numpy(WAVEFRONT.array)
    parameters[:, model.layout.scale], parameters[:, model.layout.background] = 200.0, 10.0
    expected = cramer_rao(model, parameters, read_noise=5.0)[0, : len(MODES)]
    np.testing.assert_allclose(found.images["sections"].known.rms, expected, rtol=3e-3)


def test_the_bound_of_a_volume_is_that_of_its_pixels_one_by_one(uneven):
    setup, found = uneven
    cube = section("zyx", (SAMPLES,) * 3, setup.sampling.pixel_nm[::-1])
    targets = setup.sampling.targets(), [Points(cube.points_nm)]
    sections, volume = (Focus(setup.objective, setup.depletion, MODES, to, tolerance=1e-3) for to in targets)
    with torch.no_grad():
        (intensity,), (slopes,) = volume.jacobian(torch.from_numpy(np.append(WAVEFRONT.array, [0, 0, 0]))[None])
    # The light is counted where the sections are brightest, which no pixel of this volume is.
    crest = float(sections.scale / volume.scale)
    assert crest < 0.97
    light = crest * intensity[:, None]
    rows = torch.cat([200 * crest * slopes, light, torch.ones_like(light)], dim=1)
    information = fisher_information(rows, 200 * light + 10, read_noise=5.0)
    expected = covariance(information)[0].diagonal()[: len(MODES)].sqrt()
    np.testing.assert_allclose(found.images["volume"].known.rms, expected, rtol=3e-3)


def test_four_times_the_photons_halve_the_bound_without_background():
    dim, bright = known(photons=1000, background=0), known(photons=4000, background=0)
    np.testing.assert_allclose(dim / bright, 2, rtol=0.01)


def test_background_and_read_noise_raise_the_bound(found):
    bound = found.images["sections"].known.rms
    noisy = SETUP.model_copy(update={"detector": Detector(read_noise=5.0)})
    assert (known(background=0.2) > bound).all()
    assert (known(noisy) > bound).all()


def test_nuisances_that_are_all_but_known_cost_nothing():
    well = Nuisances(drift_nm=1e-3, blur_nm=0.1, pixel_error=1e-6, z_scale=1e-6, mask_offset=0, taper=0, fill_center=0)
    sections = sa.bound(
        SETUP.model_copy(update={"nuisances": well.model_copy(update={"ellipticity_deg": 0.0})}),
        WAVEFRONT,
        volume=False,
    ).images["sections"]
    np.testing.assert_allclose(sections.unsure.rms, sections.known.rms, rtol=1e-3)


def test_without_aberrations_xy_alone_is_blind_to_spherical_and_to_nothing_else(unaberrated):
    spherical = list(MODES).index(Mode(4, 0))
    assert list(np.flatnonzero(unaberrated["xy"].known.rms > BLIND_WAVES)) == [spherical]
    assert unaberrated["xy"].known.rms[spherical] == pytest.approx(1, abs=0.1)
    assert unaberrated["xy"].to_json()["known"]["blind"] == [[4, 0]]
    assert unaberrated["sections"].unsure.rms.max() < 2e-3


def test_it_is_as_a_prototype_found_it_on_one_micrometer():
    """Figures that were computed with other code, on other wavefronts, before this one was written."""
    setup = SETUP.model_copy(update={"sampling": Sampling(samples=64, pixel_nm=(15.625,) * 3), "bead": Bead()})
    drawn = random_wavefronts(MODES, 0.12, 4, np.random.default_rng(0))
    aberrated, ideal = (sa.bound(setup, some, volume=False).images for some in (drawn, None))
    assert 1e3 * ideal["sections"].known.rms_total == pytest.approx(1.3, rel=0.05)
    assert 1e3 * aberrated["sections"].known.rms_total == pytest.approx(1.05, rel=0.15)
    assert 1e3 * aberrated["xy"].known.rms_total == pytest.approx(2.2, rel=0.15)


def test_several_wavefronts_count_by_their_mean_square(found, unaberrated):
    both = sa.bound(SETUP, [WAVEFRONT, sa.Wavefront.zero(MODES)], volume=False)
    parts = [images["sections"].known.rms for images in (found.images, unaberrated)]
    np.testing.assert_allclose(both.images["sections"].known.rms, np.sqrt(np.square(parts).mean(axis=0)), rtol=1e-3)
    assert (both.wavefronts, both.rms_waves) == (2, pytest.approx(0.12 / np.sqrt(2)))


def test_equal_dose_spreads_the_light_of_the_sections(found):
    assert found.at_equal_dose("sections") == pytest.approx(found.images["sections"].known.rms_total)
    direct = sa.bound(SETUP, WAVEFRONT, photons=3 * 350, volume=False).images["xy"].known
    assert found.at_equal_dose("xy") == pytest.approx(direct.rms_total, rel=1e-3)


def test_random_wavefronts_have_the_strength_that_is_asked_for():
    drawn = random_wavefronts(MODES, 0.12, 3, np.random.default_rng(1))
    assert [wavefront.rms_waves for wavefront in drawn] == pytest.approx([0.12] * 3)
    assert random_wavefronts(MODES, 0, 3, np.random.default_rng(1)) == [sa.Wavefront.zero(MODES)]


def test_what_makes_no_sense_is_refused():
    other = sa.Wavefront(sa.ModeSet.of([(6, 0)]), (0.1,))
    with pytest.raises(ValueError, match="no place for"):
        sa.bound(SETUP, other)
    with pytest.raises(ValueError, match="photons = 0"):
        sa.bound(SETUP, photons=0)
    with pytest.raises(ValueError, match="strength"):
        random_wavefronts(MODES, np.nan, 1, np.random.default_rng(0))
    for wavefronts in ([], [WAVEFRONT, other]):
        with pytest.raises(ValueError, match="on the same modes"):
            acquisition_bounds(SETUP.forward, wavefronts, SETUP.detector, SETUP.nuisances)
    wide = SETUP.model_copy(update={"sampling": Sampling(samples=256)})
    with pytest.raises(ValueError, match="volume of 256 x 256 x 256 pixels is too large"):
        sa.bound(wide)
