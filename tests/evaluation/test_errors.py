"""The errors of one estimator: units, and the reconstruction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from stedalign.evaluation.errors import MASK_OFFSET, WAVEFRONT, QuantityErrors, open_loop
from stedalign.evaluation.estimators import Estimator, fit_estimator
from stedalign.evaluation.test_set import KnownImages
from stedalign.imaging.detector import NoiseSpec
from stedalign.networks.outputs import Outputs, Prediction
from stedalign.optics.wavefront import ModeSet

Truth = Callable[[KnownImages], Estimator]
CLEAN = NoiseSpec(photons=0, background_fraction=0)


def test_an_estimator_that_knows_the_truth_has_no_error_and_reconstructs_the_image(
    eleven: KnownImages, truth: Truth
) -> None:
    result = open_loop(truth(eleven), eleven, eleven.counts(CLEAN, seed=0))
    assert result.quantities[WAVEFRONT].rms_total == 0
    assert result.mse_peak_waves == 0
    assert result.correlations.min() > 0.999


def test_the_reconstruction_takes_over_the_predicted_mask_offset(moving: KnownImages, truth: Truth) -> None:
    counts = moving.counts(CLEAN, seed=0)
    prediction = truth(moving)(counts)
    with_offset = open_loop(lambda _: prediction, moving, counts[:12])
    without = open_loop(lambda _: Prediction(prediction.waves, None), moving, counts[:12])
    assert with_offset.correlations.min() > 0.999
    assert (without.correlations < with_offset.correlations).all()


def test_an_error_of_the_mask_offset_is_in_pupil_radii(moving: KnownImages, truth: Truth) -> None:
    estimator = truth(moving)

    def beside(counts: torch.Tensor) -> Prediction:
        prediction = estimator(counts)
        assert prediction.mask_offset is not None
        return Prediction(None, prediction.mask_offset + torch.tensor([0.03, -0.04]))

    offset = open_loop(beside, moving, moving.counts(CLEAN, seed=0), [MASK_OFFSET]).quantities[MASK_OFFSET]
    np.testing.assert_allclose(offset.rms, [0.03, 0.04])
    assert offset.rms_total == pytest.approx(0.05)
    assert offset.median_total == pytest.approx(0.05)


def test_the_mse_is_in_peak_waves_and_summed_over_the_modes(eleven: KnownImages, truth: Truth) -> None:
    estimator, error = truth(eleven), torch.zeros(11, dtype=torch.float64)
    error[0] = 0.01 / eleven.model.modes.norms[0]

    def beside(counts: torch.Tensor) -> Prediction:
        prediction = estimator(counts)
        assert prediction.waves is not None
        return Prediction(prediction.waves + error, None)

    assert open_loop(beside, eleven, eleven.counts(CLEAN, seed=0)).mse_peak_waves == pytest.approx(1e-4)


def test_what_an_estimator_does_not_say_cannot_be_compared(eleven: KnownImages, truth: Truth) -> None:
    with pytest.raises(ValueError, match="no mask offset to compare"):
        open_loop(truth(eleven), eleven, eleven.counts(CLEAN, seed=0), [MASK_OFFSET])


def test_images_that_were_missed_are_told_apart() -> None:
    errors = QuantityErrors(np.zeros((4, 2)), np.array([[0.003, 0.004], [0.006, 0.0], [0.0, 0.3], [0.0, 0.0]]))
    assert errors.share_above(0.01) == 0.25
    np.testing.assert_allclose(errors.rms_within(0.01), np.sqrt([(9e-6 + 36e-6) / 3, 16e-6 / 3]))
    assert np.isnan(errors.rms_within(-1)).all()


def test_where_images_are_not_displaced_the_fit_knows_it(load: Callable[..., KnownImages]) -> None:
    """Else a displacement along z would pass for defocus."""
    twelve = ModeSet.report12()
    known = load(Outputs(twelve), modes=twelve.pairs, centered=False)
    assert known.still
    counts = known.counts(NoiseSpec(photons=2000), seed=0)
    result = open_loop(fit_estimator(known), known, counts)
    assert result.quantities[WAVEFRONT].rms[twelve.pairs.index([2, 0])] < 0.003


def test_where_there_are_no_aberrations_the_fit_of_the_mask_offset_knows_it(
    load: Callable[..., KnownImages],
) -> None:
    known = load(Outputs(None, mask_offset=True), range_peak_waves=0, mask_offset=0.1)
    result = open_loop(
        fit_estimator(known), known, known.counts(NoiseSpec(photons=2000), seed=0, count=1), [MASK_OFFSET]
    )
    assert result.quantities[MASK_OFFSET].rms_total < 0.005
    assert WAVEFRONT not in result.quantities
