import numpy as np
import pytest
import torch

from stedalign.estimation.bound import covariance, cramer_rao, fisher_information
from stedalign.estimation.fit import fit, start_parameters

MODES = 11


@pytest.fixture(scope="module")
def fitted(model, draw):
    truth, counts = draw(24)
    start = start_parameters(model, counts, torch.zeros(24, MODES).double(), torch.zeros(24, 3).double())
    return truth, counts, fit(model, counts, start)


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
    start = start_parameters(model, counts, torch.zeros(2, MODES).double(), torch.zeros(2, 3).double())
    together = fit(model, counts, start).parameters
    alone = torch.cat([fit(model, counts[i : i + 1], start[i : i + 1]).parameters for i in range(2)])
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
    brighter[:, model.scale.start :] *= 4
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
    start = start_parameters(model, counts, torch.zeros(2, MODES).double(), torch.zeros(2, 3).double())
    result = fit(model, counts, start, iterations=20)
    assert torch.isfinite(result.parameters).all()
    assert torch.isfinite(result.covariance).all()
