"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp-"


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Hand out a temporary file beside ``path`` that takes its name when the block ends well.

    Where the block raises, the temporary file is removed and whatever stood at ``path`` stays. The temporary name
    keeps the suffix, since many writers choose the format by it.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}{TEMPORARY}", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; a plain new file follows the umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(folder: Path, name: str | None = None) -> list[Path]:
    """The temporary files that killed calls of ``replacing`` left in ``folder``: those of the file ``name``, or all."""
    stem, suffix = (".+", r"(\..*)?") if name is None else map(re.escape, (Path(name).stem, Path(name).suffix))
    # mkstemp puts eight of these characters in the middle.
    pattern = re.compile(rf"\.{stem}{re.escape(TEMPORARY)}[a-z0-9_]{{8}}{suffix}")
    return [file for file in folder.iterdir() if pattern.fullmatch(file.name)] if folder.is_dir() else []


def write_json(path: Path | str, data: dict[str, Any]) -> None:
    """Write ``data`` as indented JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json_text(data) + "\n", encoding="utf-8")


def json_text(data: dict[str, Any], indent: int | None = 2) -> str:
    """``data`` as JSON; what is not finite becomes null, since JSON has no word for it."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
