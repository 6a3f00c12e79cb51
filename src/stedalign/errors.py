"""Two kinds of errors that are meant: what was given cannot be used, or the job could not be done.

Anything else that reaches the surface, a broadcast ``ValueError`` of NumPy's, say, is a bug of ours.
"""

from __future__ import annotations

import errno

ABOUT_THE_NAME = FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError
ALSO_ABOUT_THE_NAME = errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY, errno.EROFS


class InputError(ValueError):
    """What was given cannot be used: one line that names it and says what to do. The command line exits with 2."""


class JobError(RuntimeError):
    """A job could not be done, or was refused: one line that says why. The command line exits with 1."""


def is_about_the_name(error: OSError) -> bool:
    """Whether another file name would help: no such file, a folder, no permission; not a full disk or a device."""
    return isinstance(error, ABOUT_THE_NAME) or error.errno in ALSO_ABOUT_THE_NAME


def check_type(function: str, value: object, *wanted: type) -> None:
    """Raise ``TypeError`` with what ``function`` wants unless ``value`` is one of it."""
    if not isinstance(value, wanted):
        raise TypeError(f"{function} wants {' or '.join(map(_named, wanted))}, got {_named(type(value))}")


def _named(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOUaeiou' else 'a'} {kind.__name__}"
