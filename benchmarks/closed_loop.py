"""Align simulated microscopes of different seeds with the command line and print a table of what became of them.

    python benchmarks/closed_loop.py --seeds 10

Each seed hides another wavefront (normal, 0.1 peak waves on each of 11 modes, 120 mλ rms on average) and another place
of the bead; the image has 350 photons at the crest of the ideal donut. The rms shown is the truth of the simulator.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

GOOD_WAVES = 0.020


def align(seed: int, folder: Path, options: list[str]) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "stedalign",
        "align",
        "--seed",
        str(seed),
        "--json",
        "--out",
        str(folder),
        *options,
    ]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout) | {"seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 .. N-1")
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            align(seed, Path(folder) / str(seed), options)
            for seed in track(range(arguments.seeds), console=Console(stderr=True), transient=True)
        ]
    table = Table(title="closed loop on the SIMULATED microscope", title_justify="left")
    for name in ("seed", "before (mλ)", "after (mλ)", "null before", "null after", "corrections", "converged", "s"):
        table.add_column(name, justify="right")
    for seed, run in enumerate(runs):
        table.add_row(
            str(seed),
            f"{1e3 * run['rms_before_waves']:.1f}",
            f"{1e3 * run['rms_after_waves']:.2f}",
            f"{run['null_ratio_before']:.2%}",
            f"{run['null_ratio_after']:.3%}",
            str(run["iterations"]),
            "yes" if run["converged"] else "no",
            f"{run['seconds']:.0f}",
        )
    Console(width=100).print(table)
    good = sum(run["rms_after_waves"] <= GOOD_WAVES for run in runs)
    worse = sum(run["rms_after_waves"] > run["rms_before_waves"] for run in runs)
    print(
        f"{good} of {len(runs)} end at <= {1e3 * GOOD_WAVES:.0f} mλ, {worse} end worse than they began, "
        f"{max(run['iterations'] for run in runs)} corrections at most"
    )


if __name__ == "__main__":
    main()
