import numpy as np
import pytest
import torch

from stedalign.estimation.bound import covariance, cramer_rao, fisher_information
from stedalign.estimation.fit import fit, start_parameters
from stedalign.estimation.observed import Observed
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import Nuisances, Prior

MODES = 11


@pytest.fixture(scope="module")
def fitted(model, draw):
    truth, counts = draw(24)
    start = start_parameters(model, Observed.of(counts), torch.zeros(24, MODES).double(), torch.zeros(24, 3).double())
    return truth, counts, fit(model, Observed.of(counts), start, prior=Prior.of(model))


def test_a_fit_from_zero_finds_120_milliwaves(fitted):
    truth, _, result = fitted
    error = (result.parameters - truth)[:, :MODES].norm(dim=1)
    assert result.converged.all()
    assert float(error.max()) < 0.006


def test_the_errors_are_as_large_as_their_sigma_says(fitted):
    truth, _, result = fitted
    sigma = result.covariance.diagonal(dim1=1, dim2=2).sqrt()
    z = ((result.parameters - truth) / sigma)[:, : MODES + 6]
    # 24 x 17 standard normal numbers: their rms stays within 4 standard errors of 1.
    assert float(z.square().mean().sqrt()) == pytest.approx(1, abs=4 / np.sqrt(2 * z.numel()))


def test_sigma_is_the_cramer_rao_bound_at_the_solution(model, fitted):
    _, _, result = fitted
    bound = cramer_rao(model, result.parameters.float())
    torch.testing.assert_close(result.covariance.diagonal(dim1=1, dim2=2).sqrt(), bound, rtol=1e-3, atol=0)


def test_reduced_chi_squared_is_one_where_the_model_is_true(fitted):
    _, _, result = fitted
    assert float(result.reduced_chi2.mean()) == pytest.approx(1, abs=0.03)


def test_the_deviance_at_the_solution_is_no_higher_than_at_the_truth(model, fitted):
    truth, counts, result = fitted
    with torch.no_grad():
        mean = model(truth.float()).double()
    at_truth = 2 * (mean - counts + torch.xlogy(counts, counts / mean)).sum(dim=(1, 2, 3))
    assert (result.deviance <= at_truth + 0.05).all()


def test_a_batch_of_fits_equals_its_loop(model, draw):
    _, counts = draw(2, seed=4)
    start = start_parameters(model, Observed.of(counts), torch.zeros(2, MODES).double(), torch.zeros(2, 3).double())
    together = fit(model, Observed.of(counts), start, prior=Prior.of(model)).parameters
    alone = torch.cat(
        [
            fit(model, Observed.of(counts[i : i + 1]), start[i : i + 1], prior=Prior.of(model)).parameters
            for i in range(2)
        ]
    )
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


def test_read_noise_widens_sigma_as_its_variance_does(model, draw):
    truth, _ = draw(1)
    expected, jacobian = model.linearize(truth.float())
    without = fisher_information(jacobian, expected)
    noisy = fisher_information(jacobian, expected + 25.0)
    torch.testing.assert_close(fisher_information(jacobian, expected, read_noise=5.0), noisy, rtol=1e-5, atol=1e-4)
    assert (covariance(noisy).diagonal(dim1=1, dim2=2) > covariance(without).diagonal(dim1=1, dim2=2)).all()


def test_the_bound_falls_with_the_root_of_the_photons(model, draw):
    truth, _ = draw(1)
    brighter = truth.clone()
    brighter[:, model.layout.scale.start :] *= 4
    ratio = cramer_rao(model, truth.float())[:, :MODES] / cramer_rao(model, brighter.float())[:, :MODES]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 2.0), rtol=1e-3, atol=0)


def test_fisher_information_is_the_curvature_of_the_expected_likelihood(model, draw):
    truth, _ = draw(1)
    model64 = model.double()
    try:
        expected, jacobian = model64.linearize(truth)
        information = fisher_information(jacobian, expected)[0]

        def loss(parameters):
            mean = model64(parameters[None])
            return (mean - expected.view_as(mean) * mean.log()).sum()

        step = torch.zeros(truth.shape[1]).double()
        step[[0, 7, 12, 15]] = torch.tensor([1e-4, 1e-4, 0.1, 0.5]).double()
        curvature = loss(truth[0] + step) + loss(truth[0] - step) - 2 * loss(truth[0])
        assert float(curvature) == pytest.approx(float(step @ information @ step), rel=1e-2)
    finally:
        model.float()


def test_a_fit_of_garbage_ends_with_finite_numbers(model):
    counts = torch.from_numpy(np.random.default_rng(0).poisson(3.0, size=(2, 3, 32, 32)).astype(float))
    start = start_parameters(model, Observed.of(counts), torch.zeros(2, MODES).double(), torch.zeros(2, 3).double())
    result = fit(model, Observed.of(counts), start, prior=Prior.of(model), iterations=20)
    assert torch.isfinite(result.parameters).all()
    assert torch.isfinite(result.covariance).all()


@pytest.mark.parametrize("read_noise", [0.0, 3.0])
def test_an_image_without_background_is_fitted_as_well(model, draw, read_noise):
    truth, counts = draw(6, background=0.0, seed=5)
    if read_noise:
        counts = counts + read_noise * torch.randn(counts.shape, generator=torch.Generator().manual_seed(0))
    start = start_parameters(model, Observed.of(counts), torch.zeros(6, MODES).double(), torch.zeros(6, 3).double())
    observed = Observed.of(counts, read_noise)
    result = fit(model, observed, start, prior=Prior.of(model, None, observed.least_background()))
    assert result.converged.all()
    assert float((result.parameters - truth)[:, :MODES].norm(dim=1).max()) < 0.008


def test_converged_means_that_a_full_step_would_gain_nothing(model, fitted):
    _, counts, result = fitted
    mean, jacobian = model.linearize(result.parameters.float())
    slopes = jacobian.flatten(2).double()
    residual = ((counts.flatten(1) - mean.flatten(1).double()) / mean.flatten(1).double())[:, :, None]
    gradient = (slopes @ residual)[..., 0]
    step = torch.linalg.solve(fisher_information(slopes, mean), gradient)
    assert float((gradient * step).sum(-1).max()) < 0.05


def test_parameters_that_do_the_same_are_noticed(spec, model, draw):
    from stedalign.imaging.forward import ForwardModel
    from stedalign.optics.wavefront import ModeSet

    _, counts = draw(1)
    with_tilt = ForwardModel(spec, ModeSet.from_ansi([2, 3, 5]))
    start = start_parameters(with_tilt, Observed.of(counts), torch.zeros(1, 3).double(), torch.zeros(1, 3).double())
    assert not fit(with_tilt, Observed.of(counts), start, prior=Prior.of(with_tilt), iterations=5).determined.any()
    start = start_parameters(model, Observed.of(counts), torch.zeros(1, MODES).double(), torch.zeros(1, 3).double())
    assert fit(model, Observed.of(counts), start, prior=Prior.of(model), iterations=5).determined.all()


def test_light_does_not_make_a_drift_undetermined(spec, model):
    nuisances = Nuisances()
    drifting = ForwardModel(spec, model.modes, drifting=True, tolerance=1e-2)
    truth = torch.zeros(1, len(drifting.layout), dtype=torch.float64)
    truth[:, drifting.layout.scale], truth[:, drifting.layout.background] = 1e5, 1e3
    counts = drifting(truth.float()).double()
    found = fit(drifting, Observed.of(counts), truth, prior=Prior.of(drifting, nuisances), iterations=5)
    assert found.determined.all()
    assert not fit(drifting, Observed.of(counts), truth, prior=Prior.of(drifting), iterations=5).determined.any()


def test_what_is_held_stays_and_has_no_variance(model, draw):
    truth, counts = draw(4, seed=6)
    held = torch.zeros(truth.shape[1], dtype=torch.bool)
    held[model.layout.shift] = True
    start = start_parameters(model, Observed.of(counts), torch.zeros(4, MODES).double(), truth[:, model.layout.shift])
    result = fit(model, Observed.of(counts), start, prior=Prior.of(model), held=held)
    assert torch.equal(result.parameters[:, held], truth[:, held])
    assert (result.covariance[:, held] == 0).all()
    assert result.determined.all()
    free = fit(model, Observed.of(counts), start, prior=Prior.of(model))
    known, unknown = (each.covariance.diagonal(dim1=1, dim2=2)[:, :MODES] for each in (result, free))
    assert (known <= unknown * 1.001).all()
    assert (known[:, 0] < unknown[:, 0]).all()


def test_a_start_knows_the_beam(spec):
    from stedalign.imaging.forward import ForwardModel
    from stedalign.optics.wavefront import ModeSet

    moving = ForwardModel(spec, ModeSet.from_ansi([3]), free={"mask_offset_x": 0.1, "mask_offset_y": 0.1})
    counts, waves, shift = torch.ones(1, 3, 32, 32), torch.zeros(1, 1), torch.zeros(1, 3)
    assert torch.equal(
        start_parameters(moving, Observed.of(counts), waves, shift)[:, moving.layout.free], torch.zeros(1, 2).double()
    )
    beam = torch.tensor([[0.05, -0.02]]).double()
    assert torch.equal(start_parameters(moving, Observed.of(counts), waves, shift, beam)[:, moving.layout.free], beam)
