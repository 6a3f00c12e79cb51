"""A folder to run commands in, and the images that several of them take."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from command_line import Outcome, Run, run_in

COARSE = """\
[sampling]
samples = 24
pixel_nm = [80.0, 80.0, 80.0]
"""


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
