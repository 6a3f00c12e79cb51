import numpy as np
import pytest
from toy_microscope import BEFORE

from stedalign.alignment.bench import AlignmentError, Bench
from stedalign.alignment.events import Centered, Measured
from stedalign.alignment.model_based import align
from stedalign.alignment.policy import Policy
from stedalign.estimation.checks import ImageError
from stedalign.imaging.images import OrthoSections


def run(world, estimator, mask_of, zero, **policy):
    """The events of a whole run, its outcome last."""
    with Bench(world.microscope, estimator, Policy(**policy)) as bench:
        strategy, events = align(bench, mask_of, zero), []
        while True:
            try:
                events.append(next(strategy))
            except StopIteration as end:
                return [*events, end.value]


def measured(events):
    """Under the masks that the loop made, not the one it found."""
    return [event for event in events if isinstance(event, Measured) and event.correction is not None]


def test_a_perfect_estimator_aligns_in_one_correction(toy, estimate_of, mask_of, zero):
    world = toy()
    events = run(world, lambda _: estimate_of(world, world.residual), mask_of, zero)
    assert [event.kept for event in measured(events)] == [True, True]
    assert events[-1].converged
    assert events[-1].shown is measured(events)[-1]
    assert np.linalg.norm(world.residual) < 0.001


def test_an_estimator_with_the_wrong_sign_never_leaves_the_instrument_worse(toy, estimate_of, mask_of, zero):
    world = toy()
    events = run(world, lambda _: estimate_of(world, -world.residual), mask_of, zero)
    np.testing.assert_allclose(world.residual, world.misalignment)
    assert not events[-1].converged


def test_an_estimator_that_lies_about_its_success_is_caught_by_the_image(toy, estimate_of, mask_of, zero):
    world = toy()
    claims = iter([(0.3, 0.3), (0.1, 0.1), (0.001, 0.0)])
    events = run(world, lambda _: estimate_of(world, -np.array(next(claims))), mask_of, zero)
    assert [event.kept for event in measured(events)] == [True, False]
    np.testing.assert_allclose(world.residual, world.misalignment)


def test_only_a_strict_loop_ends_at_an_estimate_with_model_error(toy, estimate_of, mask_of, zero):
    for strict in (False, True):
        world = toy()
        look = lambda _, world=world: estimate_of(world, world.residual, model_error=0.02)  # noqa: E731
        events = run(world, look, mask_of, zero, strict=strict)
        assert events[-1].converged is not strict
        if strict:
            assert "model error" in events[-1].reason
            np.testing.assert_array_equal(world.panel.levels, BEFORE)


def test_a_blind_estimator_changes_nothing(toy, estimate_of, mask_of, zero):
    world = toy()
    run(world, lambda _: estimate_of(world, (0.0, 0.0)), mask_of, zero)
    np.testing.assert_array_equal(world.panel.levels, BEFORE)


def test_a_better_mask_that_was_found_is_shown_again(toy, estimate_of, mask_of, zero):
    world = toy(misalignment=(0.093, 0.093))
    events = run(world, lambda _: estimate_of(world, world.residual), mask_of, zero, max_corrections=0)
    np.testing.assert_array_equal(world.panel.levels, BEFORE)
    assert events[-1].converged
    assert events[-1].shown.correction is None


def test_a_mask_that_is_already_shown_is_measured_once(toy, estimate_of, mask_of, zero):
    world = toy()
    world.panel.levels = mask_of(zero)
    events = run(world, lambda _: estimate_of(world, world.residual), mask_of, zero)
    assert sum(isinstance(event, Measured) for event in events) == 2


def test_an_unusable_image_after_a_good_one_keeps_the_good_one(toy, estimate_of, mask_of, zero):
    world, seen = toy(), []

    def saturates(_):
        seen.append(None)
        if len(seen) == 3:
            raise ImageError("the image is saturated")
        return estimate_of(world, world.residual)

    events = run(world, saturates, mask_of, zero)
    assert "saturated" in events[-1].reason
    np.testing.assert_array_equal(world.panel.levels, mask_of(zero))


def test_the_stage_follows_a_bead_only_so_far_and_then_goes_home(toy, estimate_of, mask_of, zero):
    world = toy(bead_nm=(0.0, 0.0, 0.0))
    with pytest.raises(AlignmentError, match="bring a bead to the middle by hand"):
        run(
            world,
            lambda _: estimate_of(world, world.residual, shift_nm=(0.0, 0.0, 900.0)),
            mask_of,
            zero,
            max_travel_nm=500,
        )
    np.testing.assert_array_equal(world.table.position, 0)


def test_an_empty_field_is_noticed_before_the_stage_moves(toy, estimate_of, mask_of, zero):
    world = toy()
    world.acquire = lambda: OrthoSections(np.random.default_rng(0).poisson(9.0, (3, 32, 32)), (50.0,) * 3)
    with pytest.raises(AlignmentError, match="empty"):
        run(world, lambda _: estimate_of(world, world.residual), mask_of, zero)
    np.testing.assert_array_equal(world.table.position, 0)


def test_a_refused_image_restores_the_mask_that_was_found(toy, estimate_of, mask_of, zero):
    world = toy()
    events = run(world, lambda _: estimate_of(world, (0.1, 0.0), accepted=False), mask_of, zero)
    assert (events[-1].converged, events[-1].reason) == (False, "the model does not explain the image")
    assert events[-1].shown is None
    np.testing.assert_array_equal(world.panel.levels, BEFORE)


def test_an_unusable_image_is_an_alignment_error_and_restores_the_mask(toy, mask_of, zero):
    def saturated(_):
        raise ImageError("the image is saturated")

    world = toy()
    with pytest.raises(AlignmentError, match="saturated"):
        run(world, saturated, mask_of, zero)
    np.testing.assert_array_equal(world.panel.levels, BEFORE)
    assert not world.shutter.is_open


@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_ctrl_c_at_any_image_restores_the_mask_and_closes_the_shutter(toy, estimate_of, mask_of, zero, fail_at):
    world = toy(fail_at=fail_at)
    with pytest.raises(KeyboardInterrupt):
        run(world, lambda _: estimate_of(world, world.residual), mask_of, zero)
    np.testing.assert_array_equal(world.panel.levels, BEFORE)
    assert not world.shutter.is_open


def test_the_bead_is_moved_to_the_middle_before_it_is_measured(toy, estimate_of, mask_of, zero):
    world = toy(bead_nm=(150.0, -120.0, 90.0))
    events = run(world, lambda _: estimate_of(world, world.residual), mask_of, zero)
    assert isinstance(events[0], Centered)
    assert not world.shutter.is_open
    np.testing.assert_allclose(world.table.position, world.bead_nm, atol=30)


def test_a_stage_that_runs_the_wrong_way_is_stopped(toy, estimate_of, mask_of, zero):
    world = toy(bead_nm=(150.0, -120.0, 0.0), direction=-1.0)
    with pytest.raises(AlignmentError, match="runs away"):
        run(world, lambda _: estimate_of(world, world.residual), mask_of, zero)
    assert np.abs(world.table.position).max() < 1000
    np.testing.assert_array_equal(world.panel.levels, BEFORE)


def test_the_fitted_shift_is_taken_out_with_the_stage(toy, estimate_of, mask_of, zero):
    world = toy(bead_nm=(0.0, 0.0, 0.0))
    run(world, lambda _: estimate_of(world, world.residual, shift_nm=(20.0, 0.0, 0.0)), mask_of, zero)
    assert world.table.position[0] == pytest.approx(20.0)


def test_no_more_corrections_than_allowed_are_shown(toy, estimate_of, mask_of, zero):
    world = toy()
    events = run(world, lambda _: estimate_of(world, world.residual), mask_of, zero, gain=0.3, max_corrections=2)
    assert len(measured(events)) == 3
    assert (events[-1].converged, events[-1].reason) == (False, "stopped after 2 corrections")


def test_the_correction_on_the_mask_never_exceeds_its_limit(toy, estimate_of, mask_of, zero):
    world = toy()
    events = run(
        world, lambda _: estimate_of(world, (3.0, 0.0)), mask_of, zero, max_correction_waves=0.1, max_corrections=1
    )
    assert max(event.correction.rms_waves for event in measured(events)) <= 0.1 + 1e-12
