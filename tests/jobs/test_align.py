"""Promises of the alignment job on one open microscope."""

import json
import threading
import tomllib
from types import SimpleNamespace

import numpy as np
import one_file_device
import pytest

import stedalign as sa
from stedalign.instrument.protocols import Microscope
from stedalign.jobs.align import NotAligned
from stedalign.progress import Cancelled
from stedalign.simulator.microscope import make_microscope

SETUP = sa.Setup.parse(tomllib.loads(one_file_device.SETUP))


def read(path):
    return json.loads(path.read_text())


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_open_microscope_of_one_file_is_aligned_twice(tmp_path, monkeypatch):
    microscope = sa.load_microscope(one_file_device.put_on_path(tmp_path, monkeypatch), SETUP)
    first, second = (sa.align(microscope, SETUP, tmp_path / name, network=None) for name in ("first", "second"))
    assert microscope.connected
    assert not microscope.shutter.is_open
    assert first.finished.converged
    assert second.finished.converged
    # The second run finds the mask of the first.
    np.testing.assert_array_equal(second.before.levels, first.after.levels)
    np.testing.assert_array_equal(microscope.slm.shown(), second.after.levels)


def test_a_microscope_without_truth_tells_none_and_is_not_called_simulated(tmp_path):
    parts = make_microscope(SETUP, seed=3)
    real = Microscope(parts.source, parts.slm, parts.stage, parts.shutter)
    result = sa.align(real, SETUP, tmp_path / "run", network=None)
    assert (result.truth_before, result.truth_after) == (None, None)
    assert read(tmp_path / "run" / "result.json")["rms_after_waves"] == result.after.estimate.rms_waves


def test_the_simulated_microscope_s_truth_is_what_the_result_tells(tmp_path):
    microscope = make_microscope(SETUP, seed=3)
    result = sa.align(microscope, SETUP, tmp_path / "run", network=None)
    assert result.truth_after == microscope.truth.residual(result.after.correction)
    assert result.truth_after.rms_waves < result.truth_before.rms_waves / 5
    assert read(tmp_path / "run" / "result.json")["simulated"]


def test_a_good_alignment_whose_shutter_does_not_close_has_its_result_and_says_so(tmp_path):
    def stuck():
        raise OSError("no answer")

    microscope = make_microscope(SETUP, seed=3)
    microscope.shutter.close = stuck
    with pytest.warns(UserWarning, match=r"the shutter could not be closed \(OSError: no answer\)"):
        result = sa.align(microscope, SETUP, tmp_path / "run", network=None)
    assert result.finished.converged
    assert result.mask.exists()
    np.testing.assert_array_equal(microscope.slm.shown(), result.after.levels)
    written = read(tmp_path / "run" / "result.json")
    assert not written["restored"]
    assert "the shutter could not be closed" in written["microscope_left"]
    restored = read_lines(tmp_path / "run" / "log.jsonl")[-2]
    assert restored["event"] == "restored"
    assert [step["error"] for step in restored["steps"]] == ["OSError: no answer", None]


def test_a_run_without_one_usable_image_says_how_the_microscope_was_left(tmp_path):
    microscope = make_microscope(SETUP, seed=3)
    spot = sa.focus(SETUP.model_copy(update={"depletion": SETUP.excitation}), sa.Wavefront.zero(SETUP.modes))
    image = sa.OrthoSections(np.random.default_rng(0).poisson(350 * spot.data + 7), spot.pixel_nm)
    microscope.source = SimpleNamespace(acquire=lambda: image)
    before = np.full(microscope.slm.shape, 7, np.uint8)
    microscope.slm.show(before)
    with pytest.raises(NotAligned) as caught:
        sa.align(microscope, SETUP, tmp_path / "run", network=None)
    np.testing.assert_array_equal(microscope.slm.shown(), before)
    assert caught.value.__notes__ == [
        "the shutter is closed, the mask from before is shown, the stage is back where it was"
    ]


def test_a_canceled_alignment_leaves_the_microscope_as_it_was_and_no_result(tmp_path):
    microscope = make_microscope(SETUP, seed=3)
    before, home = microscope.slm.shown(), microscope.stage.position_nm()
    cancel, titles = threading.Event(), []

    def watch(step):
        titles.append(step.title)
        if step.title.endswith("measured"):
            cancel.set()

    run = tmp_path / "run"
    with pytest.raises(Cancelled, match="stopped at") as caught:
        sa.align(microscope, SETUP, run, network=None, progress=watch, cancel=cancel)
    assert "correction 0 measured" in titles
    assert "the shutter is closed, the mask from before is shown" in "".join(caught.value.__notes__)
    assert not microscope.shutter.is_open
    assert microscope.stage.position_nm() == home
    np.testing.assert_array_equal(microscope.slm.shown(), before)
    assert read_lines(run / "log.jsonl")[-1]["error"] == "Cancelled"
    assert not (run / "result.json").exists()


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5])
def test_a_disk_that_fills_up_at_the_end_leaves_no_part_of_the_result(tmp_path, full_disk, missing):
    written = full_disk(100)
    whole = sa.align(make_microscope(SETUP, seed=3), SETUP, tmp_path / "whole", network=None)
    count = written()
    full_disk(count - missing)
    microscope = make_microscope(SETUP, seed=3)
    with pytest.raises(OSError, match="No space left"):
        sa.align(microscope, SETUP, tmp_path / "full", network=None)
    result = {"mask.bmp", "mask.png", "mask.json", "alignment.png", "result.json"}
    assert result <= {path.name for path in whole.run_folder.iterdir()}
    assert not result & {path.name for path in (tmp_path / "full").iterdir()}
    assert not microscope.shutter.is_open
