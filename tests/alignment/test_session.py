import json

import numpy as np
import pytest

from stedalign.alignment.loop import align
from stedalign.alignment.policy import Policy
from stedalign.alignment.session import Session
from stedalign.imaging.stacks import load_stack


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


def test_pictures_before_and_after_are_kept(tmp_path, toy, estimate_of, mask_of, zero):
    world, session = toy(), start(tmp_path)
    list(session.record(align(world.microscope, lambda _: estimate_of(world, world.residual), mask_of, zero, Policy())))
    before, after = (load_stack(session.folder / f"{name}.ome.tif") for name in ("before", "after"))
    assert not np.array_equal(before.data, after.data)
    np.testing.assert_allclose(after.data, session.after.sections.data, rtol=1e-6)


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
