"""Ten thousand pictures of nothing: each has to end as an estimate of finite numbers, or as one clear refusal.

    python benchmarks/garbage.py --count 10000 --workers 2

On sections of 16 pixels of 125 nm and with a search of one generation, so that refusals are quick.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import stedalign as sa
from stedalign.estimation.checks import Limits, PictureError
from stedalign.estimation.estimator import Estimator
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.sections import Sampling

SAMPLES, PIXEL_NM = 16, (125.0, 125.0, 125.0)


@cache
def estimator() -> Estimator:
    spec = sa.Setup().forward.model_copy(update={"sampling": Sampling(samples=SAMPLES, pixel_nm=PIXEL_NM)})
    return Estimator(spec, sa.ModeSet.default(), limits=Limits(search_generations=1))


@cache
def donut() -> np.ndarray:
    one = estimator()
    model = ForwardModel(one.spec, one.modes)
    parameters = torch.zeros(1, len(model.names))
    parameters[:, : model.free.stop] = model.focus.rest
    parameters[:, model.scale] = 1.0
    with torch.no_grad():
        return model(parameters)[0].double().numpy()


def garbage(draw: np.random.Generator) -> np.ndarray:
    """A picture (3, n, n) of one of many kinds, of any size of numbers."""
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
    picture = kinds[draw.integers(len(kinds))] * size
    if draw.random() < 0.5:
        picture = draw.poisson(np.clip(picture, 0, 1e9)).astype(float)
    return np.asarray(picture)


def outcome(seed: int) -> str:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    picture = garbage(np.random.default_rng([13, seed]))
    try:
        found = estimator()(sa.OrthoSections(picture, PIXEL_NM))
    except PictureError as error:
        return f"refused before the fit: {str(error).split('(')[0].split(':')[0][:40]}"
    except Exception as error:
        return f"CRASH at seed {seed}: {type(error).__name__}: {str(error)[:60]}"
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
    with ProcessPoolExecutor(given.workers) as pool:
        work = pool.map(outcome, range(given.count), chunksize=8)
        found = Counter(track(work, "garbage", given.count, console=Console(stderr=True), transient=True))
    table = Table("outcome", "pictures", title=f"{given.count} pictures of nothing")
    for name, times in found.most_common():
        table.add_row(name, str(times))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
