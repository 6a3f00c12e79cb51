"""How a job tells what it does and is asked to stop: the same for a command line, a script and a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from stedalign.errors import JobError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Step:
    """What a job is at."""

    title: str
    done: int = 0
    total: int | None = None
    """How much there is to do; None where nobody knows."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Cancel(Protocol):
    """Asks a job to stop, as a ``threading.Event`` does once it is set."""

    def is_set(self) -> bool: ...


class Cancelled(JobError):
    """The job was asked to stop, and did."""


Tell = Callable[[Step], None]


class Progress:
    """Hands steps to whoever watches, and ends the job with ``Cancelled`` at the next step after it was asked to."""

    def __init__(self, tell: Tell | None = None, cancel: Cancel | None = None) -> None:
        self._tell, self._cancel = tell, cancel

    def __call__(self, title: str, done: int = 0, total: int | None = None) -> None:
        """Tell a step. Raises ``Cancelled``."""
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled(f"stopped at '{title}'" + ("" if total is None else f" ({done} of {total})"))
        if self._tell is not None:
            self._tell(Step(title, done, total))

    def over(self, items: Sequence[Item], title: str) -> Iterator[Item]:
        """The items one by one, each told when it is done. Raises ``Cancelled`` between two of them."""
        self(title, 0, len(items))
        for number, item in enumerate(items, 1):
            yield item
            self(title, number, len(items))


SILENT = Progress()
"""Tells nobody and is never asked to stop."""
