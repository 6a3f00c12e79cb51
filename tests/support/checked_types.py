"""The checker of types and shapes that the tests put on what goes in and out of the engine, the images and the fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

REFUSING = ("Image", "FocalSection", "Volume", "OrthoSections")
"""What is built from a user's values takes any, and refuses wrong ones itself, in words."""

# An int will do for a float, as it does for mypy.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A public function, raising where an argument or the result is not what its annotation says."""
    owner, _, name = function.__qualname__.rpartition(".")
    private = name.startswith("_") and not name.endswith("__")
    return function if private or (owner in REFUSING and name == "__init__") else _check(function)
