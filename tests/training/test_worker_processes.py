"""Processes beside this one: they end with it, and it hears why they failed."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

import pytest

from stedalign.training import worker_processes as module
from stedalign.training.worker_processes import workers

SLEEP = partial(time.sleep, 1000)


def test_the_environment_is_theirs_while_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "before")
    with workers(partial(int, "1"), {"WORLD_SIZE": "2"}, 2):
        assert (os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"]) == ("2", "0")
    assert os.environ["WORLD_SIZE"] == "before"
    assert "LOCAL_RANK" not in os.environ


@pytest.mark.parametrize("end", [ValueError("mine"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_they_end_with_the_block(end: BaseException) -> None:
    def run() -> None:
        with workers(SLEEP, {}, 3):
            assert len(multiprocessing.active_children()) == 2
            raise end

    with pytest.raises(type(end)):
        run()
    assert not multiprocessing.active_children()


def test_one_that_cannot_be_started_takes_the_others_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = SpawnProcess.start, []

    def refuse_the_second(process: SpawnProcess) -> None:
        if started:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        start(process)
        started.append(process)

    monkeypatch.setattr(SpawnProcess, "start", refuse_the_second)
    before = dict(os.environ)
    words = "process 3 of 3 of the training cannot be started: .* Resource temporarily unavailable"
    with pytest.raises(RuntimeError, match=words), workers(SLEEP, {"WORLD_SIZE": "3"}, 3):
        pytest.fail("the block was entered")
    assert [process.exitcode for process in started] == [-signal.SIGKILL]
    assert dict(os.environ) == before


def test_what_another_interpreter_cannot_be_told_is_refused_in_one_line() -> None:
    words = "process 2 of 2 of the training cannot be started: "
    with pytest.raises(RuntimeError, match=words) as caught, workers(lambda: None, {}, 2):
        pytest.fail("the block was entered")
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


FAILURES = pytest.mark.parametrize(
    ("failing", "reason"),
    [
        (partial(int, "x"), "invalid literal for int"),
        (partial(os._exit, 3), "it ended with 3"),
        (partial(signal.raise_signal, signal.SIGKILL), "it was killed"),
    ],
    ids=["error", "silent", "killed"],
)


@FAILURES
def test_a_lost_connection_is_told_by_its_reason(failing: partial[object], reason: str) -> None:
    def run() -> None:
        with workers(failing, {}, 2):
            for other in multiprocessing.active_children():
                wait([other.sentinel])
            raise RuntimeError("connection closed")

    with pytest.raises(RuntimeError, match=f"another process of the training failed: {reason}") as caught:
        run()
    assert str(caught.value.__cause__) == "connection closed"


@FAILURES
def test_a_process_that_waits_for_a_failed_one_is_ended(
    failing: partial[object], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(module, "SECONDS_TO_END", 0.1)
    monkeypatch.setattr(os, "_exit", lambda code: ended.set())
    with workers(failing, {}, 2):
        assert ended.wait(60)
    assert f"stedalign: another process of the training failed: {reason}" in capsys.readouterr().err


def test_ctrl_c_in_a_terminal_is_heard_by_the_first_alone_even_while_the_others_start() -> None:
    program = """
import multiprocessing, signal, time
from functools import partial
from stedalign.training.worker_processes import workers
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with workers(partial(time.sleep, 1000), {}, 3):
        try:
            print("begun", flush=True)
            time.sleep(1000)
        finally:
            time.sleep(0.5)
            print(len(multiprocessing.active_children()), flush=True)
except KeyboardInterrupt:
    pass
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        # At once: the others are still looking for their modules.
        os.killpg(process.pid, signal.SIGINT)
        alive, err = process.communicate(timeout=60)
    assert (process.returncode, alive, err) == (0, "2\n", "")


def test_they_do_not_outlive_a_killed_process() -> None:
    program = """
import time
from functools import partial
from stedalign.training.worker_processes import workers
with workers(partial(print, flush=True), {}, 2), workers(partial(time.sleep, 1000), {}, 2):
    time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        process.send_signal(signal.SIGKILL)
        # The pipe is closed when the last process that holds it has ended.
        process.communicate(timeout=60)
