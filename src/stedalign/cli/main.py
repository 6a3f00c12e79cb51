"""The entry point: the commands, and the border at which every error becomes one line and an exit code."""

from __future__ import annotations

import io
import sys
import warnings
from functools import cache
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from stedalign.cli import alignment, benchmark, evaluation, files, learning, setups
from stedalign.cli.explain import WRONG_INPUT, fail, of_standard_output
from stedalign.errors import JobError
from stedalign.version import __version__


class Stopped(JobError):
    """Ctrl-C ended a command, with what became of its work."""


class Commands(TyperGroup):
    """The commands. Ctrl-C and a closed pipe get a message here, before typer makes bare exit codes of them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Stopped(str(error) or "stopped by Ctrl-C") from error
        except BrokenPipeError as error:
            raise of_standard_output(error) from error


app = typer.Typer(
    name="stedalign",
    cls=Commands,
    help="Align the depletion beam of a STED microscope: a bead goes in, an aligned donut comes out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(setups.init)
app.command()(setups.simulate)
app.command()(setups.mask)
app.command()(files.inspect)
app.command()(alignment.estimate)
app.command()(alignment.align)
app.command()(learning.dataset)
app.command()(learning.train)
app.command()(evaluation.evaluate)
app.add_typer(benchmark.app)


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context,
    show: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if show:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(WRONG_INPUT)


def main() -> NoReturn:
    """Run the command line: exit 0 when done, 1 when the job failed or was refused, 2 for wrong usage or input."""
    for stream in (sys.stdout, sys.stderr):
        # Not every terminal knows a lambda; a question mark is better than a finished job that ends with an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app(standalone_mode=False, prog_name="stedalign")
            _flush()
    except Exception as error:
        code = fail(error)
    sys.exit(code if isinstance(code, int) else 0)


def _flush() -> None:
    """Write what was printed, so that a disk that is full is told here, not by Python on its way out."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise of_standard_output(error) from error


@cache
def _warn(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"stedalign: warning: {message}", markup=False, highlight=False)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line without the place in the code, once however many parts of the program notice."""
    _warn(str(message))
