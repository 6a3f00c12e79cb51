"""The entry point: the commands, and the border at which every error becomes one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
import warnings
from functools import cache
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from stedalign.cli import alignment, benchmark, evaluation, learning, setups
from stedalign.errors import JobError
from stedalign.version import __version__

JOB_FAILED = 1
WRONG_INPUT = 2


class Stopped(JobError):
    """Ctrl-C ended a command, with what became of its work."""


class Commands(TyperGroup):
    """The commands. Their Ctrl-C becomes an exception with a message before typer makes a bare exit code of it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Stopped(str(error) or "stopped by Ctrl-C") from error


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
    except Exception as error:
        message, code = _explained(error)
        code = _fail("; ".join([message, *getattr(error, "__notes__", ())]), code)
    sys.exit(code if isinstance(code, int) else 0)


@cache
def _warn(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"stedalign: warning: {message}", markup=False, highlight=False)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line without the place in the code, once however many parts of the program notice."""
    _warn(str(message))


def _fail(message: str, code: int) -> int:
    if os.environ.get("STEDALIGN_TRACEBACK"):
        Console(stderr=True).print_exception()
    Console(stderr=True, soft_wrap=True).print(f"stedalign: {message}", markup=False, highlight=False)
    return code


def _explained(error: Exception) -> tuple[str, int]:
    """One line that says what is wrong, and the exit code."""
    # The base of typer's usage errors has no name in typer, and its home has moved between versions.
    if isinstance(error, typer.BadParameter.__bases__):
        return _usage(error), WRONG_INPUT
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror.lower()
        return f"{error.filename}: {reason}" if error.filename else reason, WRONG_INPUT
    line = " ".join(_message(error).split()) or type(error).__name__
    if isinstance(error, ValueError | OSError):
        return line, WRONG_INPUT
    if isinstance(error, RuntimeError):
        return line, JOB_FAILED
    return f"{type(error).__name__}: {line} (a bug: please report what STEDALIGN_TRACEBACK=1 shows)", JOB_FAILED


def _usage(error: Any) -> str:
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    return f"{message}; see '{error.ctx.command_path if error.ctx else 'stedalign'} --help'"


def _message(error: Exception) -> str:
    """The message; of a description that was not read from a file, its first problem without pydantic's frame."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key} = {problem['input']!r}: {message}" if key else message
