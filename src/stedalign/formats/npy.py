"""NumPy's ``.npy``: an array, and nothing about its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stedalign.formats.stored import StackError, Stored

SUFFIXES = (".npy",)


def read(path: Path) -> Stored:
    """The array in a file. Raises ``StackError`` where there is none, ``OSError`` where the file cannot be read."""
    # Not np.load: it also takes archives and pickles for .npy files.
    try:
        with path.open("rb") as file:
            return Stored(np.lib.format.read_array(file, allow_pickle=False))
    except OSError:
        raise
    # A damaged header can fail anywhere in the reader.
    except Exception as error:
        raise StackError(f"{path}: not a readable .npy file ({error})") from error
