"""What became of a command that ended with an error: one line, an exit code, and for a bug of ours its traceback."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from stedalign.errors import InputError, JobError, is_about_the_name

JOB_FAILED = 1
WRONG_INPUT = 2


def fail(error: Exception) -> int:
    """Tell an error in one line on standard error; the exit code."""
    if os.environ.get("STEDALIGN_TRACEBACK"):
        Console(stderr=True).print_exception()
    message, code = explained(error)
    # Notes say how a microscope was left.
    message = "; ".join([message, *getattr(error, "__notes__", ())])
    Console(stderr=True, soft_wrap=True).print(f"stedalign: {message}", markup=False, highlight=False)
    return code


def explained(error: Exception) -> tuple[str, int]:
    """One line that says what is wrong, and the exit code."""
    # The base of typer's usage errors has no name in typer, and its home has moved between versions.
    if isinstance(error, typer.BadParameter.__bases__):
        return _usage(error), WRONG_INPUT
    if isinstance(error, OSError):
        return _of_the_system(error), WRONG_INPUT if is_about_the_name(error) else JOB_FAILED
    if isinstance(error, InputError):
        return _line(error), WRONG_INPUT
    if isinstance(error, JobError):
        return _line(error), JOB_FAILED
    if problem := _first_problem(error):
        return problem, WRONG_INPUT
    # torch has an error of its own, and is not imported here to ask for it.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"there is not enough memory: {_line(error)}", JOB_FAILED
    return f"a bug of ours, {type(error).__name__}: {_line(error)[:150]}; please report {_saved(error)}", JOB_FAILED


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _of_the_system(error: OSError) -> str:
    """What the system refused, with the file or device."""
    if not error.strerror:
        return _line(error)
    reason = error.strerror.lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def _usage(error: Any) -> str:
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    return f"{message}; see '{error.ctx.command_path if error.ctx else 'stedalign'} --help'"


def _first_problem(error: Exception) -> str:
    """The first problem of a description that was not read from a file; empty for any other error."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return ""
    problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"]))
    message = " ".join(problem["msg"].removeprefix("Value error, ").split())
    return f"{key} = {problem['input']!r}: {message}" if key else message


def _saved(error: Exception) -> str:
    """Where the traceback was saved, for the user to send."""
    text = " ".join(sys.argv) + "\n\n" + "".join(traceback.format_exception(error))
    try:
        handle, name = tempfile.mkstemp(prefix="stedalign-bug-", suffix=".txt")
        os.close(handle)
        Path(name).write_text(text, encoding="utf-8")
    except OSError:
        return "what STEDALIGN_TRACEBACK=1 shows"
    return name


def of_standard_output(error: OSError) -> JobError:
    """What to raise where standard output, unless ``error`` names something else, takes no more; it is left alone."""
    if error.filename is None:
        # Python would fail once more when it ends and writes what is left.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return JobError(f"{error.filename or 'standard output'}: {(error.strerror or str(error)).lower()}")
