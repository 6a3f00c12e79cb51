import json
from contextlib import closing

import numpy as np
import pytest

from stedalign.alignment.model_based import align
from stedalign.alignment.policy import Policy
from stedalign.alignment.session import Session
from stedalign.formats.stack import load_stack


def start(tmp_path):
    return Session.start(tmp_path / "run", "# a setup\n", seed=3)


def lines(session):
    return [json.loads(line) for line in (session.folder / "log.jsonl").read_text().splitlines()]


def test_each_event_is_a_line_before_it_is_seen(tmp_path, toy, estimate_of, mask_of, zero):
    world, session = toy(), start(tmp_path)
    events = align(world.microscope, lambda _: estimate_of(world, world.residual), mask_of, zero, Policy())
    for count, _ in enumerate(session.record(events), start=1):
        assert len(lines(session)) == count
    assert [line["event"] for line in lines(session)][-3:] == ["measured", "measured", "finished"]


def test_every_image_is_kept_and_named_in_the_log(tmp_path, toy, estimate_of, mask_of, zero):
    world, session = toy(), start(tmp_path)
    list(session.record(align(world.microscope, lambda _: estimate_of(world, world.residual), mask_of, zero, Policy())))
    names = [line["image"] for line in lines(session) if line["event"] == "measured"]
    assert names == ["image-1.ome.tif", "image-2.ome.tif", "image-3.ome.tif"]
    last = load_stack(session.folder / names[-1])
    np.testing.assert_allclose(last.data, session.finished.shown.sections.data, rtol=1e-6)


def test_an_error_beside_the_loop_restores_the_mask_at_once(tmp_path, toy, estimate_of, mask_of, zero):
    world, session = toy(), start(tmp_path)
    recorded = session.record(
        align(world.microscope, lambda _: estimate_of(world, world.residual), mask_of, zero, Policy())
    )

    def watch_badly():
        with closing(recorded):
            for _ in recorded:
                raise OSError("disk full")

    with pytest.raises(OSError, match="disk full") as caught:
        watch_badly()
    # While the exception lives, so do its frames: nothing is left to the garbage collector.
    assert caught.value is not None
    assert (world.panel.levels == 7).all()
    assert not world.shutter.is_open


def test_an_abort_is_the_last_line_of_the_log(tmp_path, toy, estimate_of, mask_of, zero):
    world, session = toy(fail_at=2), start(tmp_path)
    events = align(world.microscope, lambda _: estimate_of(world, world.residual), mask_of, zero, Policy())
    with pytest.raises(KeyboardInterrupt):
        list(session.record(events))
    assert lines(session)[-1]["event"] == "aborted"
    assert lines(session)[-1]["error"] == "KeyboardInterrupt"


def test_leaving_the_session_early_restores_the_mask(tmp_path, toy, estimate_of, mask_of, zero):
    world, session = toy(), start(tmp_path)
    recorded = session.record(
        align(world.microscope, lambda _: estimate_of(world, world.residual), mask_of, zero, Policy())
    )
    next(recorded)
    recorded.close()
    assert (world.panel.levels == 7).all()


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
