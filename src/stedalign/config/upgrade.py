"""Setup files of earlier versions, rewritten for this one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Comment, Null, Table, Whitespace

from stedalign.config.setup import Setup, beside, read_toml
from stedalign.optics.patterns.upgrade import idle_keys, upgraded


def upgraded_setup(path: Path | str, folder: Path | str) -> tuple[str, dict[str, list[str]]]:
    """The text of a setup file less the keys that do nothing, to be written into ``folder``, and which keys these were.

    Everything else stays, values and comments; only the comments right above what is dropped go with it, and the names
    of files become absolute where the folder is another one. Raises ``SetupError`` for what is no setup after that
    either.
    """
    path = Path(path)
    text, table = read_toml(path)
    Setup.parse(beside(upgraded(table), path.parent), str(path))
    idle = idle_keys(table)
    document = tomlkit.parse(text)
    for name, keys in idle.items():
        place: Any = document
        for part in name.split("."):
            place = place[part]
        for key in keys:
            _drop(place, key)
    if path.parent.resolve() != Path(folder).resolve():
        _make_absolute(document, path.parent)
    return tomlkit.dumps(document), idle


def _drop(table: Any, key: str) -> None:
    if isinstance(table, Table):
        body = table.value.body
        place = next(index for index, (held, _) in enumerate(body) if held is not None and held.key == key) - 1
        while place >= 0 and isinstance(body[place][1], Comment):
            body[place] = (None, Null())
            place -= 1
        if place >= 0 and isinstance(body[place][1], Whitespace):
            body[place] = (None, Null())
    del table[key]


def _make_absolute(table: Any, folder: Path) -> None:
    for key, value in table.items():
        if isinstance(value, Mapping):
            _make_absolute(value, folder)
        elif key == "file" and isinstance(value, str) and value:
            table[key] = str((folder / value).resolve())
