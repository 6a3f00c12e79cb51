"""Processes beside this one: they end with it, and it hears why they failed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from stedalign.training import companions as module
from stedalign.training.companions import companions

SLEEP = partial(time.sleep, 1000)


def test_the_environment_is_theirs_while_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "before")
    with companions(partial(int, "1"), {"WORLD_SIZE": "2"}, 2):
        assert (os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"]) == ("2", "0")
    assert os.environ["WORLD_SIZE"] == "before"
    assert "LOCAL_RANK" not in os.environ


@pytest.mark.parametrize("end", [ValueError("mine"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_they_end_with_the_block(end: BaseException) -> None:
    def run() -> None:
        with companions(SLEEP, {}, 3):
            assert len(multiprocessing.active_children()) == 2
            raise end

    with pytest.raises(type(end)):
        run()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("failing", "reason"),
    [(partial(int, "x"), "invalid literal for int"), (partial(os._exit, 3), "it was killed")],
    ids=["error", "killed"],
)
def test_a_lost_connection_is_told_by_its_reason(failing: partial[object], reason: str) -> None:
    def run() -> None:
        with companions(failing, {}, 2):
            for other in multiprocessing.active_children():
                other.join()
            raise RuntimeError("connection closed")

    with pytest.raises(RuntimeError, match=f"another process of the training failed: {reason}") as caught:
        run()
    assert str(caught.value.__cause__) == "connection closed"


def test_a_process_that_waits_for_a_failed_one_is_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(module, "SECONDS_TO_END", 0.1)
    monkeypatch.setattr(os, "_exit", lambda code: ended.set())
    with companions(partial(int, "x"), {}, 2):
        assert ended.wait(60)
    assert "stedalign: another process of the training failed: invalid literal" in capsys.readouterr().err


def test_they_do_not_outlive_a_killed_process() -> None:
    program = """
import time
from functools import partial
from stedalign.training.companions import companions
with companions(partial(print, flush=True), {}, 2), companions(partial(time.sleep, 1000), {}, 2):
    time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        process.send_signal(signal.SIGKILL)
        # The pipe is closed when the last process that holds it has ended.
        process.communicate(timeout=60)
