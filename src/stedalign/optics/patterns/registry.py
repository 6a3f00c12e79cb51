"""The patterns by kind, and how one is found that is not of this package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from stedalign.errors import InputError
from stedalign.optics.patterns.pattern import REGISTERED, Pattern

GROUP = "stedalign.patterns"
DEFAULT = "vortex"


def known_kinds() -> list[str]:
    """The kinds that are imported, and those that installed packages offer."""
    return sorted({*REGISTERED, *(entry.name for entry in entry_points(group=GROUP))})


def pattern_class(kind: str) -> type[Pattern]:
    """The pattern that a kind stands for: its name, or ``package.module:Class`` for one of the user's own.

    Raises ``InputError`` where there is none.
    """
    if kind in REGISTERED:
        return REGISTERED[kind]
    offered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    module, colon, name = offered.get(kind, kind).partition(":")
    if not colon:
        raise InputError(f"there is no pattern '{kind}'; known: {', '.join(known_kinds())}, or package.module:Class")
    try:
        candidate = getattr(import_module(module), name)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"the pattern '{kind}' cannot be loaded: {reason}") from error
    if not (isinstance(candidate, type) and issubclass(candidate, Pattern)):
        raise InputError(f"the pattern '{kind}' is no subclass of stedalign.optics.patterns.Pattern")
    called = candidate.model_fields["kind"].default
    if called != kind:
        raise InputError(f"the pattern '{kind}' calls itself {called!r}: its kind must be the name that finds it")
    return candidate


def parse_pattern(data: Any) -> Any:
    """The pattern that plain data describes, a vortex without ``kind``; anything but a table is returned as it is.

    Raises ``InputError`` for a kind that is not known and for keys that it does not have, pydantic's
    ``ValidationError`` for their values.
    """
    if not isinstance(data, Mapping):
        return data
    pattern = pattern_class(str(data.get("kind", DEFAULT)))
    strangers = [str(key) for key in data if key not in pattern.model_fields]
    if strangers:
        kind = pattern.model_fields["kind"].default
        raise InputError(f"the pattern '{kind}' has no key '{strangers[0]}'; it has {', '.join(pattern.model_fields)}")
    return pattern.model_validate(data)


AnyPattern = Annotated[SerializeAsAny[Pattern], BeforeValidator(parse_pattern)]
"""A field that holds a pattern of any kind and is written with that kind's own keys."""
