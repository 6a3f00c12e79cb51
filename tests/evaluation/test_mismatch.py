"""Estimators on images of instruments that are not as their setup says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import assert_drawn, assert_readable, saved_figures
from small_optics import FORWARD

from stedalign.config import Setup
from stedalign.evaluation.estimators import FIT, HYBRID, NETWORK
from stedalign.evaluation.mismatch import (
    ESTIMATE,
    MISMATCHES,
    Directions,
    Mismatch,
    MismatchComparison,
    compare_under_mismatch,
    reason_to_skip,
)
from stedalign.evaluation.test_set import KnownImages
from stedalign.files import json_text
from stedalign.imaging.detector import NoiseSpec
from stedalign.imaging.images import PLANES, Sampling
from stedalign.imaging.nuisances import Nuisances
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.optics.beam import Beam
from stedalign.reports.evaluation import draw_mismatch

from .conftest import ELEVEN

Make = Callable[[KnownImages], Network]
# The mask offset alone is unsure: less to plan.
UNSURE = Nuisances(drift_nm=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0, z_scale=0)
SETUP = Setup(bead=FORWARD.bead, sampling=FORWARD.sampling, nuisances=UNSURE)
BRIGHT = NoiseSpec(photons=2000)


@pytest.fixture(scope="module")
def offset(eleven: KnownImages) -> MismatchComparison:
    """Fit and whole estimate against the mask offset."""
    silent = Network(Silent(), ELEVEN)
    asked = {"mask offset": MISMATCHES["mask offset"]}
    return compare_under_mismatch(SETUP, silent, eleven, BRIGHT, images=2, names=[HYBRID, FIT], mismatches=asked)


class Silent(SectionNetwork):
    """Sees no aberration anywhere."""

    def __init__(self, planes: tuple[str, ...] = PLANES) -> None:
        super().__init__(planes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), len(ELEVEN))


def test_a_mask_offset_spoils_the_fit_of_modes_alone_but_not_the_estimate(offset: MismatchComparison) -> None:
    curve = offset.curves["mask offset"]
    assert curve.levels == pytest.approx((0, 0.0375, 0.075, 0.1125, 0.15))
    assert (np.diff(curve.medians[FIT]) > 0).all()
    assert curve.medians[FIT][-1] > 10 * offset.bound
    assert max(curve.medians[ESTIMATE]) < 2 * offset.bound


def test_where_the_instrument_is_as_its_setup_says_both_reach_the_bound(offset: MismatchComparison) -> None:
    for medians in offset.curves["mask offset"].medians.values():
        assert medians[0] < 1.5 * offset.bound


def test_what_is_drawn_is_in_the_json(
    offset: MismatchComparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = saved_figures(monkeypatch)
    draw_mismatch(tmp_path / "drawn.png", offset, "two images")
    assert_drawn(tmp_path / "drawn.png")
    (figure,) = figures
    assert_readable(figure, "two images")
    panel = next(axes for axes in figure.axes if axes.axison)
    drawn = {line.get_label(): line.get_ydata() for line in panel.lines}
    medians = offset.curves["mask offset"].medians
    for values in medians.values():
        assert any(np.array_equal(line, 1e3 * np.array(values)) for line in drawn.values())
    told = json.loads(json_text(offset.to_json()))
    assert (told["images"], told["bound_median_total_waves"]) == (2, offset.bound)
    curve = told["mismatches"]["mask offset"]
    assert {name: len(medians) for name, medians in curve["median_total_waves"].items()} == {FIT: 5, HYBRID: 5}
    assert len(curve["levels"]) == 5


def test_images_differ_by_the_mismatch_alone(eleven: KnownImages, oracle: Make) -> None:
    """Of a drift that is none, all levels give the same errors: wavefronts, places and noise are the same."""
    asked = {"drift": Mismatch("drift (nm)", 1e-6, MISMATCHES["drift"].hide)}
    found = compare_under_mismatch(
        SETUP, oracle(eleven), eleven, BRIGHT, images=1, names=[NETWORK, FIT], mismatches=asked
    ).curves["drift"]
    assert set(found.medians) == {NETWORK, FIT}
    np.testing.assert_allclose(found.medians[FIT], found.medians[FIT][0], rtol=1e-3)
    assert found.medians[NETWORK] == pytest.approx([0] * 5, abs=1e-6)


def test_an_image_that_nothing_can_be_told_from_counts_as_no_estimate(eleven: KnownImages) -> None:
    faint = NoiseSpec(photons=0.01, background_fraction=1)
    still = {"drift": Mismatch("drift (nm)", 0, MISMATCHES["drift"].hide)}
    found = compare_under_mismatch(
        SETUP, Network(Silent(), ELEVEN), eleven, faint, images=1, names=[HYBRID], mismatches=still
    )
    assert found.curves["drift"].medians[ESTIMATE] == pytest.approx([np.linalg.norm(eleven.waves[0])])


def test_levels_go_from_none_to_the_most_and_hold_the_nominal_one() -> None:
    for name, mismatch in MISMATCHES.items():
        levels = mismatch.levels(Beam(fill=1.25))
        assert levels == tuple(sorted(levels))
        assert (levels[0], levels[-1]) == (0, pytest.approx(mismatch.most))
        assert (0.64 in levels) == (name == "fill")


def test_a_mismatch_has_the_size_of_its_level() -> None:
    way = Directions.draw(np.random.default_rng(3))
    hidden = {name: mismatch.hide(mismatch.most, way) for name, mismatch in MISMATCHES.items()}
    assert hidden["fill"] == {"fill": pytest.approx(0.9)}
    assert np.hypot(*hidden["mask offset"]["mask_shift"]) == pytest.approx(0.15)
    np.testing.assert_allclose(np.abs(hidden["pixel size"]["pixel_error"]), 0.03)
    assert MISMATCHES["fill"].hide(0, way) == {"fill": np.inf}


@pytest.mark.parametrize(
    ("setup", "outputs", "planes", "photons", "reason"),
    [
        (SETUP, Outputs(None, mask_offset=True), ("xy", "xz", "yz"), 350, "predicts no modes"),
        (SETUP, ELEVEN, ("xy",), 350, "sees xy alone"),
        (SETUP, ELEVEN, ("xy", "xz", "yz"), 0, "no photon noise"),
        (Setup(sampling=Sampling(integrate=True)), ELEVEN, ("xy", "xz", "yz"), 350, "pixels that integrate"),
        (SETUP, ELEVEN, ("xy", "xz", "yz"), 350, ""),
    ],
)
def test_what_cannot_be_told_against_mismatch_is_skipped_with_a_reason(
    setup: Setup, outputs: Outputs, planes: tuple[str, ...], photons: float, reason: str, eleven: KnownImages
) -> None:
    network, noise = Network(Silent(planes), outputs), NoiseSpec(photons=photons)
    found = reason_to_skip(setup, network, noise)
    assert reason in found
    assert bool(found) == bool(reason)
    if reason:
        with pytest.raises(ValueError, match=reason):
            compare_under_mismatch(setup, network, eleven, noise, images=1)
