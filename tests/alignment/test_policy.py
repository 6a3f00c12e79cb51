from types import SimpleNamespace

import pytest

from stedalign.alignment.policy import Policy


def test_a_wavefront_within_its_noise_is_left_alone(toy, estimate_of):
    assert Policy(target_waves=1e-6).is_aligned(estimate_of(toy(), (0.01, -0.01), sigma=0.01))
    assert not Policy(target_waves=1e-6).is_aligned(estimate_of(toy(), (0.1, 0.0), sigma=0.01))


def test_a_wavefront_below_the_target_is_left_alone_however_significant(toy, estimate_of):
    assert Policy(target_waves=0.005).is_aligned(estimate_of(toy(), (0.003, 0.0), sigma=1e-5))


def test_the_residual_is_freed_of_its_noise(toy, estimate_of):
    found = estimate_of(toy(), (0.03, 0.04), sigma=0.03 / 2**0.5)
    assert Policy().residual_waves(found) == pytest.approx(0.04)


def test_better_needs_a_smaller_wavefront_and_no_worse_image(toy, estimate_of):
    def judged(waves, correlation, accepted=True):
        return SimpleNamespace(estimate=estimate_of(toy(), waves, accepted=accepted), correlation=correlation)

    old, policy = judged((0.1, 0.0), 0.90), Policy(correlation_slack=0.005)
    assert policy.is_better(judged((0.01, 0.0), 0.99), old)
    assert policy.is_better(judged((0.01, 0.0), 0.897), old)
    assert not policy.is_better(judged((0.01, 0.0), 0.89), old)
    assert not policy.is_better(judged((0.2, 0.0), 0.99), old)
    assert not policy.is_better(judged((0.01, 0.0), 0.99, accepted=False), old)


def test_a_strict_policy_wants_no_model_error(toy, estimate_of):
    exact, rough = estimate_of(toy(), (0.1, 0.0)), estimate_of(toy(), (0.01, 0.0), model_error=0.02)
    refused = estimate_of(toy(), (0.1, 0.0), accepted=False)
    assert [Policy().accepts(each) for each in (exact, rough, refused)] == [True, True, False]
    assert [Policy(strict=True).accepts(each) for each in (exact, rough, refused)] == [True, False, False]
    better = SimpleNamespace(estimate=rough, correlation=0.99), SimpleNamespace(estimate=exact, correlation=0.9)
    assert Policy().is_better(*better)
    assert not Policy(strict=True).is_better(*better)
