"""Running the command line inside the test's own process, and looking at everything that it leaves behind."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from stedalign.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """How one command ended."""

    code: object
    out: str
    err: str
    written: set[str]
    """Files and folders that the command made, changed or removed, relative to its working folder."""

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object of this world: no NaN."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is no JSON")

        found = json.loads(self.out, parse_constant=refuse)
        assert isinstance(found, dict)
        return found

    def assert_refused(self, *words: str, code: int = 2) -> None:
        """Exit 2, one line on standard error with ``words`` in it, nothing on standard output, nothing written."""
        self.assert_failed(*words, code=code)
        assert self.written == set()

    def assert_failed(self, *words: str, code: int = 1) -> None:
        """The same, except that files may have been written."""
        assert self.code == code, self.err
        assert self.out == ""
        assert self.err.startswith("stedalign: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        assert len(self.err) < 400
        for word in words:
            assert word in self.err


Run = Callable[..., Outcome]


def run_in(folder: Path, *arguments: object, encoding: str = "utf-8") -> Outcome:
    """Run ``stedalign ARGUMENTS`` with ``folder`` as the working folder."""
    before = _content(folder)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="") for _ in range(2))
    code: object = None
    with (
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
        mock.patch.object(sys, "argv", ["stedalign", *map(str, arguments)]),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(encoding))  # type: ignore[attr-defined]
    after = _content(folder)
    written = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return Outcome(code, texts[0], texts[1], written)


def _content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }
