"""How fast the factored focus is, beside the bare matrix products it is made of, with its error measured.

    python benchmarks/throughput.py

Three 64 x 64 ortho-sections at 20 nm, NA 1.4, n 1.518, 775 nm, vortex, matched circular light, 11 random modes of
0.137 waves rms in all, float32. The error is the relative L2 of the intensity over 600 random pixels against a direct
sum over 300 x 300 nodes in float64. "of products" is the share of the time that the bare matrix products of the same
shapes would take. Other libraries are not in this table yet.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from stedalign.imaging.sections import Sampling
from stedalign.optics.beam import Beam, Objective
from stedalign.optics.focus import Focus
from stedalign.optics.pupil import sample_pupil
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()
RMS_WAVES = 0.137
SAMPLING = Sampling(samples=64, pixel_nm=(20.0, 20.0, 20.0))


def seconds(job: Callable[[], object], repeats: int = 15) -> float:
    """Best wall time of several runs after one to warm up."""
    job()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


def draw(count: int) -> torch.Tensor:
    waves = np.random.default_rng(0).normal(size=(count, len(MODES)))
    waves *= RMS_WAVES / np.linalg.norm(waves, axis=1, keepdims=True)
    return torch.tensor(np.concatenate([waves, np.zeros((count, 3))], axis=1), dtype=torch.float32)


def error(plan: Focus) -> float:
    """Relative L2 error of the intensity for two wavefronts."""
    parameters = draw(2)
    points = np.concatenate(SAMPLING.points_nm())
    some = np.random.default_rng(1).integers(len(points), size=600)
    found = torch.cat(plan(parameters), dim=1).numpy()[:, some]
    pupil = sample_pupil(Objective(), Beam(), 300, 300)
    basis = 2 * np.pi * MODES.polynomials(pupil.x, pupil.y)
    worst = 0.0
    for row, intensity in zip(parameters[:, : len(MODES)].double().numpy(), found, strict=True):
        parts = [pupil.field(part, basis @ row) for part in np.array_split(points[some], 20)]
        exact = (np.abs(np.concatenate(parts, axis=1)) ** 2).sum(axis=0) * float(plan.scale)
        worst = max(worst, float(np.linalg.norm(intensity - exact) / np.linalg.norm(exact)))
    return worst


def products(plan: Focus, batch: int) -> Callable[[], object]:
    """The matrix products of one batch, on random numbers."""
    pairs = [
        (plan.get_buffer(f"compress_{name}{index}").T, plan.get_buffer(f"expand_{name}{index}").T)
        for index in range(3)
        for name in ("even", "odd")
    ]
    waves = torch.randn(2 * 3 * batch, plan.nodes)
    return lambda: [(waves @ compress) @ expand for compress, expand in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    arguments = parser.parse_args()
    console = Console(width=110)
    table = Table(title=f"three sections, {torch.get_num_threads()} threads", title_justify="left")
    for name in ("tolerance", "error", "nodes", "plan (s)", "batch", "µs / triplet", "triplets / s", "of products"):
        table.add_column(name, justify="right")
    with torch.no_grad(), console.status("measuring"):
        for tolerance in (1e-3, 1e-4, 1e-5, 1e-6):
            start = time.perf_counter()
            plan = Focus(
                Objective(), Beam(), MODES, SAMPLING.points_nm(), tolerance=tolerance, strength_waves=RMS_WAVES
            )
            built = time.perf_counter() - start
            found = error(plan)
            for batch in arguments.batches:
                parameters = draw(batch)
                spent, bare = seconds(lambda: plan(parameters)), seconds(products(plan, batch))  # noqa: B023
                cells = f"{tolerance:.0e}", f"{found:.1e}", str(plan.nodes), f"{built:.2f}", str(batch)
                table.add_row(*cells, f"{1e6 * spent / batch:.0f}", f"{batch / spent:.0f}", f"{bare / spent:.0%}")
    console.print(table)


if __name__ == "__main__":
    main()
