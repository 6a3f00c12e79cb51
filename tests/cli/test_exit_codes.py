"""What each kind of error becomes: exit 2 for what was given, 1 for a job that failed, our own bugs told as such."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch

from stedalign.errors import InputError, JobError
from stedalign.optics.objective import Objective

from .conftest import Run


@pytest.fixture
def failing(run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a job in the middle of which something is raised."""

    def fails(make: Any) -> Any:
        def raises(*_: object) -> None:
            found = make()
            if isinstance(found, Exception):
                raise found

        monkeypatch.setattr("stedalign.jobs.mask.mask_levels", raises)
        return run("mask", "--out", "made.bmp")

    return fails


@pytest.fixture
def bugs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tracebacks are saved."""
    folder = tmp_path_factory.mktemp("bugs")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def system(number: int, name: str | None = "named") -> OSError:
    return OSError(number, os.strerror(number), *([name] if name else []))


@pytest.mark.parametrize(
    "number",
    [
        *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
        *(errno.ENAMETOOLONG, errno.EROFS, errno.ELOOP, errno.ENOTEMPTY),
    ],
    ids=errno.errorcode.get,
)
def test_what_the_system_says_of_a_name_is_wrong_input(failing: Any, number: int) -> None:
    failing(lambda: system(number)).assert_refused(f"named: {os.strerror(number).lower()}")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ENODEV, errno.ETIMEDOUT], ids=errno.errorcode.get)
def test_a_full_disk_and_a_device_are_jobs_that_failed_and_are_named(failing: Any, number: int) -> None:
    failing(lambda: system(number, "/dev/camera")).assert_refused(f"/dev/camera: {os.strerror(number).lower()}", code=1)


def test_unusable_input_is_wrong_input(failing: Any) -> None:
    failing(lambda: InputError("the pupil is too wide")).assert_refused("stedalign: the pupil is too wide\n")


def test_a_description_out_of_range_is_wrong_input(failing: Any) -> None:
    failing(lambda: Objective(na=-1)).assert_refused("na = -1", "greater than 0")


def test_a_job_that_was_refused_is_a_job_that_failed(failing: Any) -> None:
    failing(lambda: JobError("no bead")).assert_refused("stedalign: no bead\n", code=1)


def test_too_little_memory_is_a_job_that_failed(failing: Any) -> None:
    failing(lambda: MemoryError("12 GB")).assert_refused("not enough memory: 12 GB", code=1)
    failing(lambda: torch.OutOfMemoryError("on the GPU")).assert_refused("not enough memory: on the GPU", code=1)


def broadcast() -> object:
    return np.ones(3) + np.ones(4)


def multiplied() -> object:
    return torch.ones(2, 3) @ torch.ones(2, 3)


def looked_up() -> object:
    return {}["vortex"]


@pytest.mark.parametrize(
    ("bug", "name", "words"),
    [
        (broadcast, "ValueError", "operands could not be broadcast"),
        (multiplied, "RuntimeError", "cannot be multiplied"),
        (looked_up, "KeyError", "'vortex'"),
    ],
)
def test_any_other_error_is_told_as_our_bug_with_the_file_that_holds_its_traceback(
    failing: Any, bugs: Path, bug: Any, name: str, words: str
) -> None:
    outcome = failing(bug)
    (saved,) = bugs.iterdir()
    outcome.assert_refused(f"a bug of ours, {name}: ", words, f"please report {saved}", code=1)
    text = saved.read_text()
    assert "stedalign mask --out made.bmp" in text
    assert f"in {bug.__name__}" in text
    assert words in text


def test_a_bug_is_told_even_where_its_traceback_cannot_be_saved(
    failing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    failing(looked_up).assert_refused("a bug of ours", "please report what STEDALIGN_TRACEBACK=1 shows", code=1)


def test_the_traceback_is_shown_when_asked_for(failing: Any, bugs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEDALIGN_TRACEBACK", "1")
    outcome = failing(looked_up)
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert "looked_up" in outcome.err


def version_to(output: IO[bytes], unbuffered: str) -> tuple[int, str]:
    """Exit code and standard error of a command that prints to ``output``."""
    done = subprocess.run(
        [sys.executable, "-m", "stedalign", "--version"],
        stdout=output,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_nobody_reads_is_a_job_that_failed_and_says_so_once(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        assert version_to(closed, unbuffered) == (1, "stedalign: standard output: broken pipe\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_standard_output_on_a_full_disk_is_a_job_that_failed_and_says_so_once() -> None:
    with open("/dev/full", "wb") as full:
        assert version_to(full, "") == (1, "stedalign: standard output: no space left on device\n")
