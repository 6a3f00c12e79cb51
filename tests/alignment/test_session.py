import json

import numpy as np
import pytest
from toy_microscope import BEFORE

from stedalign.alignment.bench import Bench
from stedalign.alignment.model_based import align
from stedalign.alignment.policy import Policy
from stedalign.alignment.session import Session
from stedalign.formats.stack import load_stack


def start(tmp_path):
    return Session.start(tmp_path / "run", "# a setup\n", seed=3)


def lines(session):
    return [json.loads(line) for line in (session.folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def run(estimate_of, mask_of, zero):
    """Run a session on a toy world whose estimator is perfect."""

    def run(session, world, watch=lambda event: None):
        bench = Bench(world.microscope, lambda _: estimate_of(world, world.residual), Policy())
        return session.run(bench, align(bench, mask_of, zero), watch)

    return run


def test_each_event_is_a_line_before_it_is_seen(tmp_path, toy, run):
    session, seen = start(tmp_path), []

    def watch(event):
        seen.append(event.to_json()["event"])
        assert [line["event"] for line in lines(session)] == seen

    run(session, toy(), watch)
    assert seen[-4:] == ["measured", "measured", "restored", "finished"]


def test_every_image_is_kept_and_named_in_the_log(tmp_path, toy, run):
    session = start(tmp_path)
    finished = run(session, toy())
    names = [line["image"] for line in lines(session) if line["event"] == "measured"]
    assert names == ["image-1.ome.tif", "image-2.ome.tif", "image-3.ome.tif"]
    last = load_stack(session.folder / names[-1])
    np.testing.assert_allclose(last.data, finished.shown.sections.data, rtol=1e-6)


def test_the_microscope_is_already_left_when_the_outcome_is_told(tmp_path, toy, run):
    world, shutter = toy(), []
    run(start(tmp_path), world, lambda event: shutter.append((event.to_json()["event"], world.shutter.is_open)))
    assert shutter[-3:] == [("measured", True), ("restored", False), ("finished", False)]


def test_an_error_beside_the_loop_restores_the_microscope_and_is_raised(tmp_path, toy, run):
    def watch(event):
        raise OSError("disk full")

    world = toy()
    with pytest.raises(OSError, match="disk full"):
        run(start(tmp_path), world, watch)
    assert (world.panel.levels == BEFORE).all()
    assert not world.shutter.is_open


def test_an_abort_ends_the_log_with_how_the_microscope_was_left_and_why(tmp_path, toy, run):
    world, session = toy(fail_at=2), start(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(session, world)
    restored, aborted = lines(session)[-2:]
    assert (restored["event"], restored["complete"]) == ("restored", True)
    assert [step["device"] for step in restored["steps"]] == ["shutter", "mask", "stage"]
    assert (aborted["event"], aborted["error"]) == ("aborted", "KeyboardInterrupt")


def test_a_full_disk_is_raised_as_it_is_although_the_abort_cannot_be_logged(tmp_path, toy, run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    world, session = toy(), start(tmp_path)
    monkeypatch.setattr("stedalign.alignment.session.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        run(session, world)
    assert caught.value.__context__ is None
    assert caught.value.__notes__ == [
        "the shutter is closed, the mask from before is shown, the stage is back where it was"
    ]


def test_the_folder_tells_setup_versions_and_seed(tmp_path):
    session = start(tmp_path)
    assert (session.folder / "setup.toml").read_text() == "# a setup\n"
    environment = json.loads((session.folder / "environment.json").read_text())
    assert environment["seed"] == 3
    assert environment["versions"]["torch"]


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        start(tmp_path)
    assert (tmp_path / "run" / "log.jsonl").read_text() == "precious"
