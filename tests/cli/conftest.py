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
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

from stedalign.cli.main import main

COARSE = """\
[sampling]
samples = 24
pixel_nm = [80.0, 80.0, 80.0]
"""


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


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in ``tmp_path``."""
    return lambda *arguments, **options: run_in(tmp_path, *arguments, **options)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a coarse, hence fast, setup, and images that are simulated once for all tests."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "coarse.toml").write_text(COARSE)
    (folder / "wrong_hand.toml").write_text(COARSE + "[depletion.polarization]\nellipticity_deg = -45.0\n")
    return folder


@pytest.fixture(scope="session")
def on_bench(bench: Path) -> Run:
    """Run a command on the bench."""
    return lambda *arguments: run_in(bench, *arguments)


@pytest.fixture(scope="session")
def simulated(on_bench: Run) -> Outcome:
    """``stedalign simulate --json``; the image is ``bead.ome.tif`` on the bench."""
    return on_bench("simulate", "--setup", "coarse.toml", "--photons", 500, "--out", "bead.ome.tif", "--json")


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty module that can be named as ``vendor_of_tests:factory``."""
    module = ModuleType("vendor_of_tests")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.fixture
def flat_image(tmp_path: Path) -> Path:
    """A ``.npy`` with the right shape and nothing in it, for commands that must not get as far as its content."""
    np.save(tmp_path / "flat.npy", np.ones((3, 16, 16)))
    return tmp_path / "flat.npy"
