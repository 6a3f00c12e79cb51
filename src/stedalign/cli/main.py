"""The entry point: the commands, and the border at which every error becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click
import typer
from rich.console import Console

import stedalign
from stedalign.cli import alignment, learning, setups

JOB_FAILED = 1
WRONG_INPUT = 2

app = typer.Typer(
    name="stedalign",
    help="Align the depletion beam of a STED microscope: a bead goes in, an aligned donut comes out.",
    no_args_is_help=True,
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
app.command()(learning.evaluate)


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if show:
        print(stedalign.__version__)
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line: exit 0 when done, 1 when the job failed or was refused, 2 for wrong usage or input."""
    try:
        code = app(standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("stopped", JOB_FAILED)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt as error:
        code = _fail(f"stopped by Ctrl-C. {error}".rstrip(), JOB_FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = JOB_FAILED
    except (ValueError, OSError) as error:
        code = _fail(_one_line(error), WRONG_INPUT)
    except RuntimeError as error:
        code = _fail(_one_line(error), JOB_FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    if os.environ.get("STEDALIGN_TRACEBACK"):
        Console(stderr=True).print_exception()
    Console(stderr=True, soft_wrap=True).print(f"stedalign: {message}", markup=False, highlight=False)
    return code


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
