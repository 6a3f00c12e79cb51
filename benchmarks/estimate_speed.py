"""What one estimate costs, network and fit together, and what it costs in a batch.

    python benchmarks/estimate_speed.py --images 256 --threads 2

Images of 120 mλ and 350 photons from the independent simulator. Single estimates and batches take turns, so that what
else the machine does slows both.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from estimates import KINDS, estimator, hidden_world, image
from rich.console import Console
from rich.progress import track
from rich.table import Table

import stedalign as sa

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    setup, kind, progress = sa.Setup(), KINDS["normal"], Console(stderr=True)
    draw = np.random.default_rng(3)
    images = [
        image(setup, hidden_world(kind, draw, setup.modes), kind.photons, seed)
        for seed in track(range(given.images), "simulating", console=progress, transient=True)
    ]
    estimate = estimator(True)
    estimate.all(images[:2])
    alone, together = [], []
    for first in track(range(0, given.images, BATCH), "estimating", console=progress, transient=True):
        some = images[first : first + BATCH]
        begin = time.perf_counter()
        estimate.all(some)
        together.append((time.perf_counter() - begin) / len(some))
        for one in some:
            begin = time.perf_counter()
            estimate(one)
            alone.append(time.perf_counter() - begin)
    single, each = np.median(alone), np.median(together)
    table = Table("threads", "one estimate", f"each of {BATCH}", "ratio", title=f"{given.images} SIMULATED images")
    table.add_row(str(given.threads), f"{1e3 * single:.0f} ms", f"{1e3 * each:.0f} ms", f"{single / each:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
