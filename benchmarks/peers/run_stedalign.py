"""Does jobs of stedalign when told their names on standard input, and answers with the seconds that each took.

Runs in this version and in earlier ones, so it knows the former homes of what it takes.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np
import torch

import stedalign as sa

HOMES = {
    "Focus": ("stedalign.focusing.focus", "stedalign.optics.focus"),
    "section": ("stedalign.optics.targets",),
}
OFFSETS = {"mask_offset_x": 0.3, "mask_offset_y": 0.25}
NUISANCES = {
    "taper": 0.6,
    "fill_center_x": 0.05,
    "fill_center_y": 0.05,
    "leak_real": 0.1,
    "leak_imaginary": 0.1,
    "blur_nm2": 900.0,
    "pixel_error_x": 0.03,
    "pixel_error_y": 0.03,
    "pixel_error_z": 0.03,
}


def home(name: str) -> Any:
    for module in HOMES[name]:
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError:
            continue
    raise LookupError(f"no version had {name} where it is looked for")


def parameters(plan: Any, count: int) -> torch.Tensor:
    """Wavefronts of 0.137 waves rms, nothing displaced, free parameters within their reach."""
    generator = np.random.default_rng(0)
    modes = len(plan.modes)
    rows = plan.rest.double().numpy() + np.zeros((count, 1))
    waves = generator.normal(size=(count, modes))
    rows[:, :modes] = 0.137 * waves / np.linalg.norm(waves, axis=1, keepdims=True)
    reach = {**OFFSETS, **NUISANCES}
    for column, name in enumerate(plan.free, rows.shape[1] - len(plan.free)):
        rows[:, column] += reach[name] * generator.uniform(0, 0.7, size=count)
    return torch.tensor(rows, dtype=torch.float32)


@cache
def job(name: str, image: str) -> Callable[[], object]:
    setup = sa.Setup()
    if name == "estimate":
        recorded = sa.load_stack(image, pixel_nm=setup.sampling.pixel_nm)
        return lambda: sa.estimate(recorded, setup)
    section = home("section")
    sections = [section(axes, (64,) * 2, (20.0,) * 2) for axes in ("yx", "zx", "zy")]
    targets = [section("zyx", (64,) * 3, (20.0,) * 3)] if name == "volume" else sections
    free = {"offsets": OFFSETS, "jacobian": OFFSETS | NUISANCES}.get(name)
    plan = home("Focus")(
        setup.objective,
        setup.depletion,
        setup.modes,
        targets,
        free=free,
        drifting=name == "jacobian",
        tolerance=1e-2 if name == "jacobian" else 1e-5,
        strength_waves=0.137,
    ).float()
    rows = parameters(plan, {"sections": 256, "offsets": 64, "volume": 4, "jacobian": 8}[name])
    return torch.no_grad()(partial(plan.jacobian if name == "jacobian" else plan, rows))


def main(image: str) -> None:
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        work = job(line.strip(), image)
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
