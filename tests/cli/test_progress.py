"""Progress is drawn by the command line, on standard error, and only where somebody looks at it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stedalign.progress import Step

from .conftest import Run

SOURCES = Path(__file__).parents[2] / "src" / "stedalign"
SIMULATE = "simulate", "--out", "bead.tif"


def test_no_job_draws_its_progress_itself() -> None:
    drawing = r"^\s*(?:from|import) (?:rich\.(?:progress|status|live)|tqdm)|\bRichProgressBar\b"
    users = {path.parent.name for path in SOURCES.rglob("*.py") if re.search(drawing, path.read_text(), re.M)}
    assert users == {"cli"}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich take standard error for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_shows_the_step_that_a_job_is_at(
    run: Run, bench: Path, terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(*_: object, progress, **__: object) -> None:
        progress(Step("simulating images", 3, 10))
        raise KeyboardInterrupt("stopped: 3 of 10")

    monkeypatch.setattr("stedalign.jobs.simulate.simulate", job)
    outcome = run(*SIMULATE, "--setup", bench / "coarse.toml")
    assert outcome.code == 1
    assert "simulating images" in outcome.err
    assert "3/10" in outcome.err
    assert "stedalign: stopped: 3 of 10" in outcome.err


def test_beside_json_nothing_is_drawn(run: Run, bench: Path, terminal: None) -> None:
    outcome = run(*SIMULATE, "--setup", bench / "coarse.toml", "--json")
    assert (outcome.code, outcome.err) == (0, "")
