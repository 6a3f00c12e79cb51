"""Where the steps of a job are drawn: on standard error, as long as that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from stedalign.progress import Step, Tell


@contextmanager
def shown(title: str, *, quiet: bool = False) -> Iterator[Tell]:
    """Show ``title``, then each step that a job tells to what is handed out; gone when the block ends."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
        # What is printed meanwhile goes above the bar, unless it goes into a file.
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task(title, total=None, count="")

        def tell(step: Step) -> None:
            if step.title != bar.tasks[task].description:
                bar.reset(task, description=step.title)
            count = "" if step.total is None else f"{step.done}/{step.total}"
            bar.update(task, completed=step.done, total=step.total, count=count)

        yield tell
