"""The other processes of a training on this machine: started, listened to, and never left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

from stedalign.errors import JobError

SECONDS_TO_END = 10.0
"""How long a process is given to come to its end, or to tell why another one failed."""
Receiver: TypeAlias = "Connection[Any, Any]"


@contextmanager
def workers(again: Callable[[], object], variables: Mapping[str, str], count: int) -> Iterator[None]:
    """Have ``again`` called in ``count - 1`` more processes while the block runs; they end with it, however it ends.

    They are new interpreters that know no more than ``again``, its arguments and the environment of this process: no
    random numbers, no settings of torch. ``variables`` are set in the environment of all, and ``LOCAL_RANK``, 0 for
    this process, which has its own environment back afterwards.

    Raises ``JobError`` with one line where one of them cannot be started, and where the block raises a
    ``RuntimeError`` since another process failed.
    """
    before = dict(os.environ)
    others: dict[Receiver, BaseProcess] = {}
    listener = _Listener(others)
    try:
        os.environ.update(variables)
        for rank in range(1, count):
            os.environ["LOCAL_RANK"] = str(rank)
            receiver, other = _started(again, f"process {rank + 1} of {count}")
            others[receiver] = other
        os.environ["LOCAL_RANK"] = "0"
        listener.start()
        yield
        _wait_for(others.values())
    except SystemExit:
        _wait_for(others.values())
        raise
    except RuntimeError as error:
        # What is meant as an error has told its reason.
        if isinstance(error, JobError) or listener.ident is None:
            raise
        # A lost connection is noticed before its reason is heard.
        listener.join(SECONDS_TO_END)
        if listener.reason is None:
            raise
        raise JobError(listener.message) from error
    finally:
        listener.over.set()
        for other in others.values():
            other.kill()
        # Of two threads that ask the system for the same exit code, one is told that there is no such process.
        if listener.ident is not None:
            listener.join(SECONDS_TO_END)
        for other in others.values():
            other.join()
        os.environ.clear()
        os.environ.update(before)


def _started(again: Callable[[], object], name: str) -> tuple[Receiver, BaseProcess]:
    """A process that calls ``again``, and where its last message arrives."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    other = context.Process(target=_take_part, args=(again, sender), daemon=True)
    try:
        with sender, _without_ctrl_c():
            other.start()
    # The system may refuse, and what is to be called may not be such that another interpreter can be told it.
    except Exception as error:
        receiver.close()
        raise JobError(f"{name} of the training cannot be started: {_words(error)}") from error
    return receiver, other


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Whatever is started in the block never hears Ctrl-C, which this process hears, if late, and ends the others."""
    if sys.platform == "win32":
        yield
        return
    # Started in the block, Python's own helper would let Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _wait_for(others: Iterable[BaseProcess]) -> None:
    for other in others:
        wait([other.sentinel], SECONDS_TO_END)


class _Listener(threading.Thread):
    """Hears why another process failed, and ends this one where it waits for that process and cannot notice."""

    def __init__(self, others: Mapping[Receiver, BaseProcess]) -> None:
        """``others`` are the processes by where their last message arrives."""
        super().__init__(daemon=True)
        self.others, self.over = others, threading.Event()
        self.reason: str | None = None

    @property
    def message(self) -> str:
        return f"another process of the training failed: {self.reason}"

    def run(self) -> None:
        silent = dict(self.others)
        while silent and self.reason is None:
            ready = wait(list(silent))
            for receiver in [each for each in silent if each in ready]:
                other = silent.pop(receiver)
                try:
                    self.reason = receiver.recv()
                except EOFError:
                    # One that fails before it can say why, or is killed, says nothing.
                    other.join(SECONDS_TO_END)
                    if other.exitcode and not self.over.is_set():
                        self.reason = "it was killed" if other.exitcode < 0 else f"it ended with {other.exitcode}"
        if self.reason is not None:
            threading.Thread(target=self._insist, daemon=True).start()

    def _insist(self) -> None:
        if not self.over.wait(2 * SECONDS_TO_END):
            print(f"stedalign: {self.message}", file=sys.stderr, flush=True)
            os._exit(1)


def _take_part(again: Callable[[], object], sender: Receiver) -> None:
    """What another process does from its beginning to its end."""
    # Where Ctrl-C could not be kept from this process when it was started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        again()
    except SystemExit:
        return
    except BaseException as error:
        sender.send(_words(error))
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
