"""Two kinds of errors that are meant: what was given cannot be used, or the job could not be done.

Anything else that reaches the surface, a broadcast ``ValueError`` of NumPy's, say, is a bug of ours.
"""


class InputError(ValueError):
    """What was given cannot be used: one line that names it and says what to do. The command line exits with 2."""


class JobError(RuntimeError):
    """A job could not be done, or was refused: one line that says why. The command line exits with 1."""
