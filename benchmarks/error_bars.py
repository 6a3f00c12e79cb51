"""Simulate picture files, estimate them, and count how often the truth lies within the printed error bars.

    python benchmarks/error_bars.py --files 50

Runs ``stedalign simulate --photons 350 --out FILE`` and ``stedalign estimate FILE --json`` for each seed, in this
process, through the same entry point as the command line. The pictures come from the independent Cartesian simulator,
through an 8-bit mask; the estimator knows neither.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from stedalign.cli.main import main as stedalign


def run(*arguments: str) -> dict[str, object]:
    """What one command prints as JSON."""
    sys.argv = ["stedalign", *arguments, "--json"]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        stedalign()
    return json.loads(output.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--photons", type=float, default=350)
    arguments = parser.parse_args()
    scores, errors, sigmas, chi2, accepted = [], [], [], [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in track(range(arguments.files), console=Console(stderr=True), transient=True):
            file = str(folder / f"bead{seed}.ome.tif")
            truth = run("simulate", "--photons", str(arguments.photons), "--seed", str(seed), "--out", file)
            found = run("estimate", file, "--out", str(folder / f"estimate{seed}"))
            error = np.subtract(found["waves"], truth["waves"])
            scores.append(error / np.array(found["sigma_waves"]))
            errors.append(np.linalg.norm(error))
            sigmas.append(np.linalg.norm(found["sigma_waves"]))
            chi2.append(found["reduced_chi2"])
            accepted += bool(found["accepted"])
    score = np.abs(scores)
    print(f"{arguments.files} SIMULATED files at {arguments.photons:g} photons, {accepted} accepted")
    print(f"total error   median {1e3 * np.median(errors):.2f} mλ, largest {1e3 * np.max(errors):.2f} mλ")
    print(f"total sigma   median {1e3 * np.median(sigmas):.2f} mλ (Cramér-Rao bound)")
    print(f"reduced chi2  median {np.median(chi2):.3f}, largest {np.max(chi2):.3f}")
    for limit, normal in ((1, 68.27), (2, 95.45), (3, 99.73)):
        within = 100 * (score <= limit).mean()
        print(f"within {limit} sigma  {within:.1f} % of {score.size} modes (a normal distribution has {normal} %)")


if __name__ == "__main__":
    main()
