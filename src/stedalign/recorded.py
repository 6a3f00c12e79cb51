"""Comparing what a file was made for with what it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """What two descriptions (nested tables) disagree in, as "key = value, ..." for each, or None."""
    then, now = (_leaves(json.loads(json.dumps(table))) for table in (recorded, asked))
    # A table on one side may be nothing on the other.
    either = then | now
    names = [name for name in either if name not in then or name not in now or then[name] != now[name]]
    if not names:
        return None
    first, second = (
        ", ".join(f"{_short(name, either)} = {values.get(name)}" for name in names) for values in (then, now)
    )
    return first, second


def _leaves(table: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested tables by their dotted names."""
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            leaves.update({f"{key}.{name}": inner for name, inner in _leaves(value).items()})
        else:
            leaves[key] = value
    return leaves


def _short(name: str, names: Iterable[str]) -> str:
    """The key itself, as it stands in a setup file, unless another table has one of the same name."""
    key = name.rpartition(".")[2]
    return key if [other.rpartition(".")[2] for other in names].count(key) == 1 else name
