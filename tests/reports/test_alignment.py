"""Drawings of an estimate: what stands in the picture."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.colors as mcolors
import numpy as np
import pytest
from drawings import assert_drawn, saved_figures

from stedalign.estimation.estimate import Estimate
from stedalign.imaging.images import Plane, Sections
from stedalign.imaging.photon_transfer import Reading
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.reports.alignment import draw_estimate

MODES = ModeSet.from_ansi([3, 5])
READING = Reading(gain=3.0, baseline=100.0, read_noise=2.0, measured=())


@pytest.fixture
def image() -> Sections:
    rng = np.random.default_rng(0)
    shapes = {"xz": (30, 20), "yz": (24, 18)}
    return Sections.of({name: Plane(rng.uniform(150, 900, size=shape), (40.0, 20.0)) for name, shape in shapes.items()})


@pytest.fixture
def estimate(image: Sections) -> Estimate:
    """Whose model is 2 sigmas of a detector of ``READING`` below the image everywhere."""
    model = image.counts.copy()
    for _ in range(50):
        model = image.counts - 2 * np.sqrt(3.0 * (model - 100.0).clip(0) + 2.0**2)
    return Estimate(
        wavefront=Wavefront(MODES, (0.01, -0.02)),
        noise_sigma_waves=(0.003, 0.003),
        model_sigma_waves=(0.004, 0.004),
        blind=(),
        shift_nm=(0.0, 0.0, 0.0),
        photons=(200.0, 200.0),
        background=(1.0, 1.0),
        nuisances={},
        effects=(),
        reading=READING,
        flaws=(),
        reduced_chi2=4.0,
        unexplained=0.01,
        model_error=0.02,
        model_error_nm=100.0,
        reason="",
        null_ratio=0.01,
        crest_uniformity=float("nan"),
        correlations={"xz": 0.99, "yz": 0.99},
        start="zero",
        reconstruction=model,
        ideal=model,
        simulated=False,
    )


@pytest.fixture
def figure_of(image, tmp_path, monkeypatch):
    def draw(estimate):
        figures = saved_figures(monkeypatch)
        draw_estimate(tmp_path / "estimate.png", image, estimate, "bead")
        assert_drawn(tmp_path / "estimate.png")
        return figures[0]

    return draw


def test_the_difference_is_in_deviations_of_the_detector_whatever_its_gain_and_baseline(figure_of, estimate):
    drawn = [
        axes.images[0].get_array() for axes in figure_of(estimate).axes if axes.images and "µm" in axes.get_xlabel()
    ]
    assert [part.shape for part in drawn[-2:]] == [(30, 20), (24, 18)]
    for part in drawn[-2:]:
        np.testing.assert_allclose(part, 2.0, rtol=1e-6)


def test_error_bars_are_of_noise_and_model_together(figure_of, estimate):
    (coefficients,) = (axes for axes in figure_of(estimate).axes if "coefficient" in axes.get_ylabel())
    (bars,) = coefficients.collections
    for low, high in (segment[:, 1] for segment in bars.get_segments()):
        assert high - low == pytest.approx(2 * 2 * 5.0)


@pytest.mark.parametrize(
    ("change", "words", "color"),
    [
        ({"model_error": 0.0}, "accepted", "palegreen"),
        ({}, "accepted with model error", "khaki"),
        ({"reason": "it is too dim"}, "REFUSED: it is too dim", "lightsalmon"),
    ],
)
def test_the_verdict_has_the_color_of_its_grade(figure_of, estimate, change, words, color):
    texts = [text for axes in figure_of(replace(estimate, **change)).axes for text in axes.texts]
    (verdict,) = (text for text in texts if text.get_bbox_patch() is not None)
    assert verdict.get_text() == words
    assert verdict.get_bbox_patch().get_facecolor() == pytest.approx(mcolors.to_rgba(color))
