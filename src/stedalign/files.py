"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stedalign.errors import InputError

TEMPORARY = ".tmp-"
MOST_TEXT = 2**20
"""Bytes of a text that people write or that is written for them, such as a setup."""
FORMER = ".former"
"""Folder of what a set of files replaces, while it is replaced."""


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Hand out a temporary file beside ``path`` that takes its name when the block ends well.

    Where the block raises, the temporary file is removed and whatever stood at ``path`` stays. The temporary name
    keeps the suffix, since many writers choose the format by it. An ``OSError`` names ``path``.
    """
    path = Path(path)
    with _naming(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}{TEMPORARY}", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            # mkstemp makes files that only their owner can read; a plain new file follows the umask.
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_all(folder: Path | str) -> Iterator[Path]:
    """Hand out a temporary folder inside ``folder``; its files move up together when the block ends well.

    For files that belong together: where the block raises, none of them is left, nor is ``folder`` if it was made
    here. Files of the same names are replaced. No ``OSError`` names the temporary folder.
    """
    folder = Path(folder)
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        with _naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(dir=folder, prefix=f".set{TEMPORARY}"))
        try:
            yield staging
            _move_up(staging)
        except OSError as error:
            # Nobody has heard of the temporary folder.
            if error.filename is None or Path(error.filename).parent != staging:
                raise
            raise OSError(error.errno, error.strerror, str(folder / Path(error.filename).name)) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except BaseException:
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()
        raise


def _move_up(staging: Path) -> None:
    """Move all files one folder up, or none of them; what they replace is given back where one cannot be moved."""
    files = sorted(staging.iterdir())
    # Copies, so that whoever looks meanwhile, or after a kill, finds a whole file under each name.
    former = staging / FORMER
    former.mkdir()
    moved: list[Path] = []
    try:
        for file in files:
            target = staging.parent / file.name
            if target.is_file():
                shutil.copy2(target, former / file.name)
            os.replace(file, target)
            moved.append(target)
    except BaseException:
        for target in moved:
            if (former / target.name).exists():
                os.replace(former / target.name, target)
            else:
                target.unlink(missing_ok=True)
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an ``OSError`` name ``path``, not a temporary file or nothing at all, as that of a full disk does."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and TEMPORARY not in Path(error.filename).name):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def check_plain(path: Path | str, most_bytes: float) -> None:
    """Raise ``InputError`` for a device or a pipe, which would be read forever, and for a file of more bytes than that.

    A file that is missing, and a folder, are left to whoever opens it.
    """
    with suppress(OSError):
        status = Path(path).stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise InputError(f"{path}: not a file but a device or a pipe")
        if stat.S_ISREG(status.st_mode) and status.st_size > most_bytes:
            raise InputError(f"{path}: {status.st_size} bytes, at most {most_bytes:.0f} are read")


def leftovers(folder: Path, name: str | None = None) -> list[Path]:
    """What killed calls of ``replacing`` and ``replacing_all`` left in ``folder``: of the file ``name``, or all."""
    stem, suffix = (".+", r"(\..*)?") if name is None else map(re.escape, (Path(name).stem, Path(name).suffix))
    # mkstemp puts eight of these characters in the middle.
    pattern = re.compile(rf"\.{stem}{re.escape(TEMPORARY)}[a-z0-9_]{{8}}{suffix}")
    return [file for file in folder.iterdir() if pattern.fullmatch(file.name)] if folder.is_dir() else []


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove the ``leftovers``."""
    for leftover in leftovers(folder, name):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


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
