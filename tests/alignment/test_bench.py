"""Promises of the bench: whatever happens on it, the microscope is left as it should be, and it says so truly."""

from itertools import combinations

import numpy as np
import pytest
from toy_microscope import BEFORE

from stedalign.alignment.bench import Bench
from stedalign.alignment.policy import Policy
from stedalign.instrument.device_errors import DeviceError

OTHER = np.full((2, 2), 100, dtype=np.uint8)
WORKED = {
    "shutter": "the shutter is closed",
    "mask": "the mask from before is shown",
    "stage": "the stage is back where it was",
}
FAILED = {
    "shutter": "the shutter could not be closed (OSError: no answer)",
    "mask": "the mask from before could not be shown (OSError: no answer)",
    "stage": "the stage could not be moved back (OSError: no answer)",
}


class Stopped(Exception):
    """What cuts a run short in these tests."""


def bench_of(world, **policy):
    return Bench(world.microscope, None, Policy(**policy))


def use(bench):
    """Show another mask and move the stage."""
    bench.show(OTHER)
    bench.move_by((100.0, 0.0, 0.0))


def cut_short(bench, error, last=lambda: None):
    """Use the bench, decide to keep its mask, do one ``last`` thing, and end with ``error``."""
    with bench:
        use(bench)
        bench.keep(OTHER)
        last()
        raise error


@pytest.mark.parametrize("error", [Stopped("by a test"), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_cuts_it_short_is_raised_with_a_note_after_everything_is_back(toy, error):
    world = toy()
    with pytest.raises(type(error)) as caught:
        cut_short(bench_of(world), error)
    assert caught.value is error
    assert error.__notes__ == [", ".join(WORKED.values())]
    assert world.touched[-3:] == ["shutter", "mask", "stage"]
    np.testing.assert_array_equal(world.panel.levels, BEFORE)
    np.testing.assert_array_equal(world.table.position, 0)
    assert not world.shutter.is_open


@pytest.mark.parametrize("parts", [parts for count in (1, 2, 3) for parts in combinations(WORKED, count)])
def test_a_step_that_fails_is_told_and_keeps_no_other_from_being_taken(toy, parts):
    world = toy()
    bench = bench_of(world)
    with pytest.raises(Stopped) as caught:
        cut_short(bench, Stopped(), lambda: world.broken.update(dict.fromkeys(parts, OSError("no answer"))))
    assert caught.value.__notes__ == [", ".join((FAILED if part in parts else WORKED)[part] for part in WORKED)]
    assert world.touched[-3:] == ["shutter", "mask", "stage"]
    assert world.shutter.is_open == ("shutter" in parts)
    assert (world.panel.levels == BEFORE).all() == ("mask" not in parts)
    assert (world.table.position == 0).all() == ("stage" not in parts)
    assert not bench.restored.complete
    assert [step["device"] for step in bench.restored.to_json()["steps"] if step["error"]] == list(parts)


def test_a_mask_to_keep_stays_with_the_stage_where_the_run_ends_by_itself(toy):
    world = toy()
    with bench_of(world) as bench:
        use(bench)
        bench.keep(OTHER)
    assert str(bench.restored) == "the shutter is closed, the best mask is shown"
    np.testing.assert_array_equal(world.panel.levels, OTHER)
    np.testing.assert_allclose(world.table.position, (100, 0, 0))
    assert not world.shutter.is_open


def test_without_a_mask_to_keep_everything_comes_back(toy):
    world = toy()
    with bench_of(world) as bench:
        use(bench)
    assert str(bench.restored) == ", ".join(WORKED.values())
    np.testing.assert_array_equal(world.panel.levels, BEFORE)


@pytest.mark.parametrize("part", ["shutter", "mask"])
def test_a_failure_at_the_end_of_a_good_run_raises_nothing_and_is_told(toy, part):
    world = toy()
    with bench_of(world) as bench:
        bench.keep(OTHER)
        world.broken = {part: OSError("no answer")}
    assert not bench.restored.complete
    assert "could not be" in str(bench.restored)
    assert world.touched[-2:] == ["shutter", "mask"]


def test_ctrl_c_while_restoring_takes_the_other_steps_first(toy):
    world = toy()
    world.broken = {"shutter": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt) as caught, bench_of(world) as bench:
        world.panel.levels = OTHER
    np.testing.assert_array_equal(world.panel.levels, BEFORE)
    assert world.touched[-1] == "stage"
    assert caught.value.__notes__ == [str(bench.restored)]
    assert "could not be closed (KeyboardInterrupt)" in str(bench.restored)


def test_a_shutter_that_does_not_open_is_closed_again(toy):
    def stuck():
        world.shutter.is_open = True
        raise OSError("half open")

    world = toy()
    world.shutter.open = stuck
    with pytest.raises(DeviceError, match="the shutter failed: OSError: half open") as caught, bench_of(world):
        pytest.fail("a bench without light was entered")
    assert not world.shutter.is_open
    assert caught.value.__notes__ == [", ".join(WORKED.values())]


def test_a_microscope_without_a_shutter_has_none_to_close(toy):
    world = toy()
    world.microscope.shutter = None
    with bench_of(world) as bench:
        pass
    assert str(bench.restored) == f"{WORKED['mask']}, {WORKED['stage']}"


def test_a_device_that_fails_is_named(toy):
    def unplugged():
        raise RuntimeError("no frame\nafter 5 s")

    world = toy()
    world.acquire = unplugged
    with pytest.raises(DeviceError, match="the image source failed: RuntimeError: no frame after 5 s"):
        bench_of(world).acquire()


def test_a_device_that_cannot_be_asked_at_the_start_leaves_everything_untouched(toy):
    def unplugged():
        raise RuntimeError("no stage")

    world = toy()
    world.table.position_nm = unplugged
    bench = bench_of(world)
    with pytest.raises(DeviceError, match="the stage failed"), bench:
        pytest.fail("a bench that does not know the way back was entered")
    assert world.touched == []
    assert not world.shutter.is_open
    assert str(bench.restored) == "the microscope is as it was"
