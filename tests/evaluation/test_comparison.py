"""A network beside its baselines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import assert_drawn, assert_readable, saved_figures
from small_optics import FORWARD

from stedalign.evaluation.bounds import LinearizedImages
from stedalign.evaluation.comparison import BOUND, SWEEP_PHOTONS, Comparison, binned, compare, trained_noise
from stedalign.evaluation.errors import WAVEFRONT
from stedalign.evaluation.estimators import FIT, HYBRID, NETWORK
from stedalign.evaluation.test_set import KnownImages
from stedalign.files import json_text
from stedalign.imaging.detector import NoiseSpec
from stedalign.imaging.images import PLANES
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.optics.wavefront import ModeSet
from stedalign.reports.evaluation import draw_comparison

Make = Callable[[KnownImages], Network]
BRIGHT = NoiseSpec(photons=2000)


@pytest.fixture(scope="module")
def linearized(eleven: KnownImages) -> LinearizedImages:
    return LinearizedImages(eleven, 12, BRIGHT.background_fraction)


@pytest.fixture
def compared(eleven: KnownImages, oracle: Make) -> Comparison:
    return compare(oracle(eleven), eleven, BRIGHT, fits=12)


def test_the_fit_of_easy_images_reaches_the_bound(compared: Comparison) -> None:
    bound = compared.bounds[BOUND][WAVEFRONT]
    for name in (FIT, HYBRID):
        found = compared.results[name].quantities[WAVEFRONT]
        # 12 x 11 standard normal numbers: their rms stays within 3 standard errors of 1.
        assert found.rms_total / bound.rms_total == pytest.approx(1, abs=3 / np.sqrt(2 * 132))
        assert found.median_total < 1.3 * bound.median_total


def test_a_network_that_knows_the_answer_has_no_error(compared: Comparison) -> None:
    assert compared.results[NETWORK].quantities[WAVEFRONT].rms_total < 1e-6
    assert compared.results[NETWORK].correlations.min() > 0.98


def test_everything_that_is_drawn_is_in_the_json(compared: Comparison) -> None:
    figures = json.loads(json_text(compared.to_json() | {"images": compared.images_json()}))
    assert set(figures["estimators"]) == {NETWORK, FIT, HYBRID}
    assert set(figures["against_strength"][WAVEFRONT]) == {NETWORK, FIT, HYBRID, BOUND}
    medians = figures["against_photons"]["median_total"][WAVEFRONT]
    assert {name: len(values) for name, values in medians.items()} == dict.fromkeys(
        (NETWORK, FIT, HYBRID, BOUND), len(SWEEP_PHOTONS)
    )
    assert np.shape(figures["images"][FIT][WAVEFRONT]) == (12, 11)
    assert set(figures["images"]["examples"]) == {"best", "median", "worst"}


def test_only_the_estimators_that_are_asked_for_are_run_and_drawn(
    eleven: KnownImages, oracle: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = saved_figures(monkeypatch)
    compared = compare(oracle(eleven), eleven, BRIGHT, fits=4, names=[FIT])
    draw_comparison(tmp_path, compared, FORWARD.sampling.pixel_nm, "four images")
    assert len(list(tmp_path.glob("*.png"))) == len(figures) == 4
    for path in tmp_path.glob("*.png"):
        assert_drawn(path)
    for figure in figures:
        assert_readable(figure, "four images")
    figures = json.loads(json_text(compared.to_json() | {"images": compared.images_json()}))
    assert set(figures["estimators"]) == {FIT}
    assert set(figures["against_strength"][WAVEFRONT]) == {FIT, BOUND}
    assert set(figures["against_photons"]["median_total"][WAVEFRONT]) == {FIT, BOUND}
    assert np.shape(figures["images"][f"true_{WAVEFRONT}"]) == (12, 11)
    assert NETWORK not in figures["images"]


def test_where_no_estimator_is_left_there_is_nothing_to_compare(eleven: KnownImages, oracle: Make) -> None:
    for noise, fits in (BRIGHT, 0), (NoiseSpec(photons=0), 4):
        with pytest.raises(ValueError, match="nothing is left to evaluate"):
            compare(oracle(eleven), eleven, noise, fits=fits, names=[FIT, HYBRID])


def test_without_noise_there_are_neither_fits_nor_a_bound(eleven: KnownImages, oracle: Make) -> None:
    compared = compare(oracle(eleven), eleven, NoiseSpec(photons=0), fits=2)
    assert set(compared.results) == set(compared.photons[WAVEFRONT]) == {NETWORK}
    assert compared.bounds == {}


def test_seed_and_place_decide_the_noise_of_an_image(eleven: KnownImages) -> None:
    uneven = NoiseSpec(background=2)
    first, fewer, other = eleven.counts(uneven, 1), eleven.counts(uneven, 1, count=2), eleven.counts(uneven, 2)
    assert torch.equal(first[:2], fewer)
    assert not torch.equal(first[:2], other[:2])


def test_the_bound_falls_with_the_root_of_the_photons(linearized: LinearizedImages) -> None:
    one, four = (linearized.bounds(NoiseSpec(photons=photons))[WAVEFRONT] for photons in (500, 2000))
    np.testing.assert_allclose(one.sigma, 2 * four.sigma, rtol=1e-6)


def test_one_section_tells_less_than_three(linearized: LinearizedImages) -> None:
    three, one = (linearized.bounds(BRIGHT, planes)[WAVEFRONT] for planes in (PLANES, ("xy",)))
    assert (one.totals > 1.2 * three.totals).all()


def test_an_uneven_background_raises_the_bound(linearized: LinearizedImages) -> None:
    even, uneven = (
        linearized.bounds(NoiseSpec(photons=2000, background=background))[WAVEFRONT] for background in (0, 20)
    )
    assert (uneven.totals > 1.2 * even.totals).all()


def test_what_is_known_has_no_variance_and_helps_the_rest(load: Callable[..., KnownImages]) -> None:
    twelve = ModeSet.report12()
    known = load(Outputs(twelve), modes=twelve.pairs, centered=False)
    free = replace(known, held=torch.zeros_like(known.held))
    defocus = twelve.pairs.index([2, 0])
    still, displaced = (LinearizedImages(each, 12, 0.02).bounds(BRIGHT)[WAVEFRONT] for each in (known, free))
    assert (displaced.median >= 0.999 * still.median).all()
    assert displaced.median[defocus] > 5 * still.median[defocus]


def test_the_shift_that_centered_an_image_is_found_again(eleven: KnownImages) -> None:
    truth = eleven.true_parameters(12)
    np.testing.assert_allclose(truth[:, :11], eleven.waves, atol=1e-7)
    assert float(truth[:, eleven.model.layout.shift].abs().max()) > 1
    with torch.no_grad():
        torch.testing.assert_close(eleven.model.intensity(truth), eleven.images, rtol=0, atol=1e-5)


def test_images_that_this_version_would_not_make_have_no_bound(eleven: KnownImages) -> None:
    other = replace(eleven, images=eleven.images.roll(1, dims=-1))
    with pytest.raises(ValueError, match="make the dataset again"):
        other.true_parameters(2)


@pytest.mark.parametrize(
    ("record", "photons"),
    [({"train_spec": {"noise": {"photons": 50.0}}}, 50), ({"train_spec": {}}, 350), ({}, 350)],
)
def test_the_noise_is_that_of_the_training(record: dict[str, object], photons: float) -> None:
    network = Network(SectionNetwork(PLANES), Outputs(ModeSet.default()), record)
    assert trained_noise(network) == NoiseSpec(photons=photons)


def test_bins_are_filled_alike_and_ordered_by_strength() -> None:
    strengths = np.random.default_rng(0).permutation(np.arange(48.0))
    found = binned(strengths, 10 * strengths)
    assert found["strength"] == [5.5, 17.5, 29.5, 41.5]
    assert found["median"] == [55, 175, 295, 415]
    assert (np.array(found["low"]) < found["median"]).all()
    assert binned(np.array([0.3]), np.array([2.0])) == {"strength": [0.3], "low": [2], "median": [2], "high": [2]}
