"""Whether this version is as fast as an earlier one: both take turns at the same jobs in one run.

    python benchmarks/old_and_new.py 6c91dd0

The earlier commit is installed in an environment of its own below benchmarks/.peers (minutes, at the first run); this
version is the one that this interpreter imports. Two processes, one of each, do a job in turn, many times; shown are
the median times and the median of old over new, pair by pair: above 1 this version is the faster one, whatever the
machine does meanwhile.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from peers.environments import CACHE
from rich.console import Console
from rich.progress import track
from rich.table import Table

import stedalign as sa

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).resolve().parent / "peers" / "run_stedalign.py"
JOBS = {
    "sections": "three sections, batch of 256",
    "offsets": "three sections, each its own mask offset, batch of 64",
    "volume": "64 x 64 x 64 volume",
    "jacobian": "three sections with derivatives by all nuisances, batch of 8",
    "estimate": "one estimate, network included",
}


def environment(commit: str) -> Path:
    """The interpreter of the environment of ``commit``, which is made unless it is there."""
    full = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--verify", f"{commit}^{{commit}}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    folder = CACHE / f"stedalign-{full[:12]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete.txt"
    if complete.exists():
        return python
    print(f"installing {commit} into {folder}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", full], capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as source:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(source, filter="data")
        pins = str(Path(source) / "constraints.txt")
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--constraint", pins, source], check=True)
    complete.write_text(full, encoding="utf-8")
    return python


class Worker:
    """A process of one version that does a job when told to, and answers with its seconds."""

    def __init__(self, python: Path | str, image: Path, *, alone: bool) -> None:
        # With -E no PYTHONPATH mixes this version into the environment of the other.
        command = [str(python), *(["-E"] if alone else []), str(WORKER), str(image)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, job: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(job, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


@contextmanager
def workers(python: Path, image: Path) -> Iterator[tuple[Worker, Worker]]:
    """One of the old version and one of the new; both end with the block."""
    both = Worker(python, image, alone=True), Worker(sys.executable, image, alone=False)
    try:
        yield both
    finally:
        for worker in both:
            worker.process.kill()
            worker.process.wait()


def write_image(path: Path) -> None:
    """An image of 120 mλ and 350 photons, the same for both."""
    setup, generator = sa.Setup(), np.random.default_rng(0)
    peaks = generator.normal(scale=0.1, size=len(setup.modes))
    donut = sa.focus(setup, sa.Wavefront.from_peak_waves(setup.modes, peaks)).data
    np.save(path, generator.poisson(350 * (donut + 0.02)).astype(np.uint16))


def compare(old: Worker, new: Worker, job: str, rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median ratio, old over new."""
    for worker in (old, new):
        worker.seconds(job)
    pairs = [(old.seconds(job), new.seconds(job)) for _ in track(range(rounds), job, transient=True)]
    before, after = (statistics.median(times) for times in zip(*pairs, strict=True))
    return before, after, statistics.median(first / second for first, second in pairs)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="the earlier version")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    given = parser.parse_args(words)
    python = environment(given.commit)
    table = Table(title=f"{given.commit} against this version", title_justify="left")
    for name in ("job", "old (ms)", "new (ms)", "old / new"):
        table.add_column(name, justify="left" if name == "job" else "right")
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.npy"
        write_image(image)
        with workers(python, image) as (old, new):
            for job in given.jobs:
                before, after, ratio = compare(old, new, job, given.rounds)
                table.add_row(JOBS[job], f"{1e3 * before:.1f}", f"{1e3 * after:.1f}", f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
