"""Ten thousand images of nothing: each has to end as an estimate of finite numbers, or as one clear refusal.

    python benchmarks/garbage.py --count 10000 --workers 2

On sections of 16 pixels of 125 nm, many at once; every fiftieth is alone and searched for a generation, too, where no
fit explains it.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import stedalign as sa
from stedalign.estimation.checks import ImageError, Limits
from stedalign.estimation.estimator import Estimator
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import Sampling

SAMPLES, PIXEL_NM = 16, (125.0, 125.0, 125.0)
TOGETHER, ALONE = 49, 50
"""Images that are estimated in one batch, and of how many one is estimated alone."""


@cache
def estimator(search_generations: int = 0) -> Estimator:
    spec = sa.Setup().forward.model_copy(update={"sampling": Sampling(samples=SAMPLES, pixel_nm=PIXEL_NM)})
    return Estimator(spec, sa.ModeSet.default(), limits=Limits(search_generations=search_generations))


@cache
def donut() -> np.ndarray:
    one = estimator()
    model = ForwardModel(one.spec, one.modes)
    parameters = torch.zeros(1, len(model.layout))
    parameters[:, model.layout.focus] = model.focus.rest
    parameters[:, model.layout.scale] = 1.0
    with torch.no_grad():
        return model(parameters)[0].double().numpy()


def garbage(draw: np.random.Generator) -> np.ndarray:
    """An image (3, n, n) of one of many kinds, of any size of numbers."""
    shape = (3, SAMPLES, SAMPLES)
    flat, size = draw.random(shape), 10.0 ** draw.uniform(-3, 8)
    ramp = np.add.outer(np.linspace(0, 1, SAMPLES), np.linspace(-1, 1, SAMPLES)) * draw.normal(size=(3, 1, 1))
    rolled = np.roll(donut(), draw.integers(-8, 8, size=2), axis=(1, 2))
    kinds = (
        flat,
        draw.normal(size=shape),
        draw.exponential(size=shape) ** draw.uniform(1, 6),
        (flat < draw.uniform(0, 0.02)).astype(float),
        ramp,
        ramp**2,
        np.indices(shape).sum(axis=0) % draw.integers(2, 5),
        draw.permutation(donut().ravel()).reshape(shape),
        donut()[draw.permutation(3)] * draw.random((3, 1, 1)),
        donut() * (flat > draw.uniform()),
        donut() ** draw.uniform(-0.5, 4),
        -donut(),
        rolled + np.roll(donut(), draw.integers(-8, 8, size=2), axis=(1, 2)),
        donut() + draw.uniform(0, 3) * ramp,
        np.where(flat < 0.01, 1e3, donut()),
        donut() - draw.uniform(0, 0.5),
    )
    image = kinds[draw.integers(len(kinds))] * size
    if draw.random() < 0.5:
        image = draw.poisson(np.clip(image, 0, 1e9)).astype(float)
    return np.asarray(image)


def outcomes(seeds: Sequence[int]) -> list[str]:
    """What came of each image."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    images = [sa.OrthoSections(garbage(np.random.default_rng([13, seed])), PIXEL_NM) for seed in seeds]
    searching = len(seeds) == 1
    try:
        return [outcome(found, seed) for found, seed in zip(estimator(searching).all(images), seeds, strict=True)]
    except Exception as error:
        if len(seeds) > 1:
            return [found for seed in seeds for found in outcomes([seed])]
        return [f"CRASH at seed {seeds[0]}: {type(error).__name__}: {str(error)[:60]}"]


def outcome(found: sa.Estimate | ImageError, seed: int) -> str:
    if isinstance(found, ImageError):
        return f"refused before the fit: {str(found).split('(')[0].split(':')[0][:40]}"
    numbers = [*found.wavefront.waves, *found.sigma_waves, *found.shift_nm, *found.photons, found.reduced_chi2]
    numbers += [found.crest_uniformity, found.correlation, found.null_ratio, *found.reconstruction.ravel()]
    if not np.isfinite(numbers).all():
        return f"NOT FINITE at seed {seed}"
    if found.accepted:
        return "accepted"
    return f"refused: {found.reason.split('(')[0].split(':')[0][:50]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    alone = [[seed] for seed in range(0, given.count, ALONE)]
    others = [seed for seed in range(given.count) if seed % ALONE]
    groups = [others[first : first + TOGETHER] for first in range(0, len(others), TOGETHER)]
    found: Counter[str] = Counter()
    with ProcessPoolExecutor(given.workers) as pool, Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("garbage", total=given.count)
        for some in pool.map(outcomes, [*groups, *alone]):
            found.update(some)
            bar.advance(task, len(some))
    table = Table("outcome", "images", title=f"{given.count} images of nothing")
    for name, times in found.most_common():
        table.add_row(name, str(times))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
