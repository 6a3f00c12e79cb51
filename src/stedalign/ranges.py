"""Ranges of numbers that come from outside: from files, options and calls."""

from __future__ import annotations

from numbers import Real
from reprlib import repr as brief
from typing import Any

from stedalign.errors import InputError

LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers takes."""
MOST_IMAGES = 10_000_000
MOST_PHOTONS = 1e7
"""At the crest."""
MOST_BACKGROUND = 10.0
"""As a fraction of the crest."""


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_range(name: str, value: Any, least: float, most: float) -> None:
    """Raise ``InputError`` with one line unless ``value`` is a number from ``least`` to ``most``."""
    if not (is_number(value) and least <= value <= most):
        raise InputError(f"{name} must be a number from {least} to {most}, got {brief(value)}")
