"""The other processes of a training on this machine: started, listened to, and never left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

SECONDS_TO_END = 10.0
"""How long a process is given to come to its end, or to tell why another one failed."""
Ear: TypeAlias = "Connection[Any, Any]"


@contextmanager
def companions(again: Callable[[], object], variables: Mapping[str, str], count: int) -> Iterator[None]:
    """Have ``again`` called in ``count - 1`` more processes while the block runs; they end with it, however it ends.

    ``variables`` are set in the environment of all, and ``LOCAL_RANK``, 0 for this process. Raises ``RuntimeError``
    where the block does so since another process failed.
    """
    context = multiprocessing.get_context("spawn")
    before = dict(os.environ)
    os.environ.update(variables)
    ears: list[Ear] = []
    others: list[BaseProcess] = []
    for rank in range(1, count):
        ear, mouth = context.Pipe(duplex=False)
        os.environ["LOCAL_RANK"] = str(rank)
        others.append(context.Process(target=_take_part, args=(again, mouth), daemon=True))
        others[-1].start()
        mouth.close()
        ears.append(ear)
    os.environ["LOCAL_RANK"] = "0"
    listener = _Listener(ears)
    listener.start()
    try:
        yield
        _wait_for(others)
    except SystemExit:
        _wait_for(others)
        raise
    except RuntimeError as error:
        # A lost connection is noticed before its reason is heard.
        listener.join(SECONDS_TO_END)
        if listener.reason is None and any(other.exitcode for other in others):
            listener.reason = "it was killed"
        if listener.reason is None:
            raise
        raise RuntimeError(listener.message) from error
    finally:
        listener.over.set()
        for other in others:
            other.kill()
            other.join()
        os.environ.clear()
        os.environ.update(before)


def _wait_for(others: Sequence[BaseProcess]) -> None:
    for other in others:
        other.join(SECONDS_TO_END)


class _Listener(threading.Thread):
    """Hears why another process failed, and ends this one where it waits for that process and cannot notice."""

    def __init__(self, ears: Sequence[Ear]) -> None:
        super().__init__(daemon=True)
        self.ears, self.over = list(ears), threading.Event()
        self.reason: str | None = None

    @property
    def message(self) -> str:
        return f"another process of the training failed: {self.reason}"

    def run(self) -> None:
        while self.ears and self.reason is None:
            ready = wait(self.ears)
            for ear in [each for each in self.ears if each in ready]:
                self.ears.remove(ear)
                with suppress(EOFError):
                    self.reason = ear.recv()
        if self.reason is not None:
            threading.Thread(target=self._insist, daemon=True).start()

    def _insist(self) -> None:
        if not self.over.wait(2 * SECONDS_TO_END):
            print(f"stedalign: {self.message}", file=sys.stderr, flush=True)
            os._exit(1)


def _take_part(again: Callable[[], object], mouth: Ear) -> None:
    """What another process does from its beginning to its end."""
    # The process that started this one hears Ctrl-C too, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        again()
    except SystemExit:
        return
    except BaseException as error:
        mouth.send(" ".join(str(error).split()) or type(error).__name__)
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
