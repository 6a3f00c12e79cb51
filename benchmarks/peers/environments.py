"""Runs the peers, each in a Python environment of its own, since their requirements exclude each other and ours.

for facts in run_peer("faser", threads=2, out=Path("peers-out")):
    print(facts["setting"], facts.get("problem") or facts["seconds"])
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".peers"
CONSTRAINTS = HERE.parents[1] / "constraints.txt"


@dataclass(frozen=True)
class Peer:
    """How to install and run one peer."""

    requirement: str
    script: str
    settings: tuple[str, ...]
    """From coarse to fine."""
    slow: tuple[str, ...] = ()
    """Finer ones that take minutes or gigabytes."""
    constrained: bool = True
    """Whether it can live with our pins, which also keep CUDA out."""
    python_below: tuple[int, int] | None = None
    undeclared: tuple[str, ...] = ()
    """What it needs and does not say."""


PEERS = {
    "faser": Peer(
        "faser==2.6.0",
        "run_faser.py",
        ("15x31", "16x31", "31x31", "64x64", "128x128"),
        constrained=False,  # numpy < 2
        python_below=(3, 13),
    ),
    "psf-generator": Peer("psf-generator==0.1.0", "run_psf_generator.py", ("64", "128", "256"), slow=("512",)),
    "pyotf": Peer("pyotf==0.0.3", "run_pyotf.py", ("256",), slow=("512",)),
}


class Unavailable(Exception):
    """A peer cannot be had or run here; the message is one line."""


def run_peer(
    name: str,
    settings: Sequence[str] | None = None,
    *,
    threads: int,
    out: Path,
    cache: Path = CACHE,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Measure a peer at ``settings`` (default: all that are not slow), each in a fresh process; facts of each.

    Facts are the JSON of ``measure.main`` and ``volume``, the path of the intensity in ``out``/name. Where something
    fails they are ``peer``, ``setting`` and ``problem``, one line; where nothing can run, ``setting`` is None. The
    environment is made below ``cache`` at the first call. ``say`` is told what goes on.
    """
    peer = PEERS[name]
    try:
        python = environment(name, peer, cache, say)
    except Unavailable as problem:
        return [{"peer": name, "setting": None, "problem": str(problem)}]
    results = []
    for setting in settings or peer.settings:
        say(f"measuring {name} {setting}")
        try:
            results.append(_measure(python, peer, setting, threads, out / name))
        except Unavailable as problem:
            results.append({"peer": name, "setting": setting, "problem": str(problem)})
    return results


def environment(name: str, peer: Peer, cache: Path, say: Callable[[str], None]) -> Path:
    """The interpreter of the peer's environment, which is made unless a complete one of this version is there.

    Raises ``Unavailable``.
    """
    if peer.python_below and sys.version_info[:2] >= peer.python_below:
        limit = ".".join(map(str, peer.python_below))
        raise Unavailable(f"{peer.requirement} needs Python below {limit}, this is {sys.version.split()[0]}")
    folder = cache / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete, stamp = folder / "complete.txt", f"{peer.requirement}, Python {sys.version}"
    if python.exists() and complete.exists() and complete.read_text(encoding="utf-8") == stamp:
        return python
    say(f"installing {peer.requirement} into {folder}")
    failed = f"{peer.requirement} cannot be installed"
    _call([sys.executable, "-m", "venv", "--clear", str(folder)], failed)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pins = ["--constraint", str(CONSTRAINTS)] if peer.constrained else []
    _call([*pip, *pins, peer.requirement, *peer.undeclared], failed)
    complete.write_text(stamp, encoding="utf-8")
    return python


def _measure(python: Path, peer: Peer, setting: str, threads: int, out: Path) -> dict[str, Any]:
    # A process for each setting: peak memory never falls again.
    run_script(python, peer.script, setting, threads, out)
    facts: dict[str, Any] = json.loads((out / f"{setting}.json").read_text(encoding="utf-8"))
    return facts | {"volume": str(out / f"{setting}.npy")}


def run_script(python: Path, script: str, argument: str, threads: int, out: Path) -> None:
    """Run a script of this folder in a peer's environment. Raises ``Unavailable``."""
    limits = {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "MKL", "OPENBLAS", "RAYON")}
    # -E, so that no PYTHONPATH mixes in packages of another environment.
    command = [str(python), "-E", str(HERE / script), argument, "--threads", str(threads), "--out", str(out)]
    _call(command, f"{script} {Path(argument).name} failed", os.environ | limits)


def _call(command: list[str], failed: str, environment: dict[str, str] | None = None) -> None:
    """Run a command in silence; raises ``Unavailable`` with ``failed`` and the last line of its complaint."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except OSError as problem:
        raise Unavailable(f"{failed}: {problem}") from problem
    if done.returncode:
        complaints = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise Unavailable(f"{failed}: {complaints[-1]}")
