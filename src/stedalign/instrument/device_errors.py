"""What is said of a part of the microscope that fails: one line that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stedalign.errors import InputError, JobError


class DeviceError(JobError):
    """A part of the microscope failed; the line says which and how."""


@contextmanager
def device(name: str) -> Iterator[None]:
    """Turn what an adapter raises inside, but for errors that are meant, into a ``DeviceError`` that names it."""
    try:
        yield
    except (InputError, JobError):
        raise
    except Exception as error:
        raise DeviceError(f"{name} failed: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """An exception with its type, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
