"""What is refused, for which reason and how soon: images that no estimate should be made from, and good ones.

    python benchmarks/refusals.py --cases 200 --good 500 --workers 2

Images come from the independent Cartesian simulator at 350 photons, wavefronts of 120 mλ, the bead off center by 20
nm along each axis (standard deviation). Half of the good ones come from unknown instruments (see estimates.py). Seconds
are those of one estimate on one thread, the first of each process with the planning of its models.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from estimates import KINDS, estimator, hidden_world, image
from rich.console import Console
from rich.progress import track
from rich.table import Table

import stedalign as sa
from stedalign.estimation.checks import ImageError
from stedalign.optics.patterns import TopHat
from stedalign.optics.polarization import Polarization
from stedalign.simulator.hidden import HiddenWorld

PHOTONS = 350.0
NOT_THIS_FOCUS = "does not look like this setup's focus"
REASONS = {
    "good": "",
    "saturated, clipped at 60 %": "saturated",
    "two beads, 300 nm apart": "two beads",
    "wrong handedness": NOT_THIS_FOCUS,
    "pixels 20 % wrong": NOT_THIS_FOCUS,
    "top-hat instead of vortex": NOT_THIS_FOCUS,
    "empty field": "empty",
    "cut off at an edge": "cut off",
    "mirrored scan": "a mirrored scan",
    "mirrored xy section": "a mirrored xy section",
    "x and y of the xy section exchanged": "x and y exchanged",
    "xy section turned by 90°": "by 90 degrees",
    "xz or yz through the wrong row": "does not pass through the bead's middle",
}
BESIDE_NM = 250.0, 400.0
"""How far beside the bead a section through the wrong row lies."""


class Verdict(NamedTuple):
    reason: str
    """Why the image is refused; empty if it is not."""
    seconds: float


def mirrored_scan(sections: np.ndarray) -> np.ndarray:
    """Sections xy, xz and yz (3, n, n) of a scan whose x runs the other way."""
    return np.stack([sections[0, :, ::-1], sections[1, :, ::-1], sections[2]])


def with_xy(turn: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sections: np.stack([turn(sections[0]), sections[1], sections[2]])


TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored scan": mirrored_scan,
    "mirrored xy section": with_xy(np.fliplr),
    "x and y of the xy section exchanged": with_xy(np.transpose),
    "xy section turned by 90°": with_xy(np.rot90),
}


def through_the_wrong_row(
    seen: sa.OrthoSections, setup: sa.Setup, hidden: HiddenWorld, draw: np.random.Generator, seed: int
) -> sa.OrthoSections:
    """The same with its xz or its yz section cut beside the bead: as of a bead that lies there."""
    section, axis = ((1, 1), (2, 0))[draw.integers(2)]
    bead = np.array(hidden.bead_nm)
    bead[axis] += draw.choice([-1.0, 1.0]) * draw.uniform(*BESIDE_NM)
    beside = image(setup, hidden.model_copy(update={"bead_nm": tuple(bead)}), PHOTONS, seed)
    data = seen.data.copy()
    data[section] = beside.data[section]
    return sa.OrthoSections(data, seen.pixel_nm)


def sections_of(kind: str, seed: int) -> sa.OrthoSections:
    setup, draw = sa.Setup(), np.random.default_rng([11, seed])
    hidden = hidden_world(KINDS["unknown" if kind == "good" and seed % 2 else "normal"], draw, setup.modes)
    change = {}
    if kind.startswith("two beads"):
        way = draw.normal(size=3)
        way *= 300 / np.linalg.norm(way)
        # The stage brings the middle of both to the middle of the field.
        change = {"second_bead_nm": tuple(way), "bead_nm": tuple(np.array(hidden.bead_nm) - way / 2)}
    elif kind.startswith("pixels"):
        change = {"pixel_error": (draw.choice([-0.2, 0.2]),) * 3}
    elif kind.startswith("cut off"):
        bead, axis = np.array(hidden.bead_nm), draw.integers(3)
        # The middle of the donut lies near an edge of the field of +- 1000 nm.
        bead[axis] = draw.choice([-1.0, 1.0]) * draw.uniform(850, 1050)
        change = {"bead_nm": tuple(bead)}
    if change:
        hidden = hidden.model_copy(update=change)
    beam = setup.depletion
    if kind.startswith("wrong"):
        beam = beam.model_copy(
            update={"polarization": Polarization(ellipticity_deg=-beam.polarization.ellipticity_deg)}
        )
    if kind.startswith("top-hat"):
        beam = beam.model_copy(update={"pattern": TopHat()})
    seen = image(setup.model_copy(update={"depletion": beam}), hidden, PHOTONS, seed)
    if kind.startswith("empty"):
        return sa.OrthoSections(draw.poisson(0.02 * PHOTONS, size=seen.data.shape).astype(float), seen.pixel_nm)
    if kind.startswith("saturated"):
        return sa.OrthoSections(seen.data.clip(max=round(0.6 * seen.data.max())), seen.pixel_nm)
    if kind in TURNS:
        return sa.OrthoSections(TURNS[kind](seen.data), seen.pixel_nm)
    if kind.endswith("wrong row"):
        return through_the_wrong_row(seen, setup, hidden, draw, seed)
    return seen


def verdict(kind: str, seed: int) -> Verdict:
    torch.set_num_threads(1)
    sections, estimate = sections_of(kind, seed), estimator(True)
    begin = time.perf_counter()
    try:
        reason = str(estimate(sections).reason)
    except ImageError as error:
        reason = str(error)
    return Verdict(reason, time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--good", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", choices=list(REASONS), default=list(REASONS))
    parser.add_argument("--out", type=Path, help="write every reason and its seconds there, as JSON")
    given = parser.parse_args()
    names = "images", "cases", "refused", "for the right reason", "s, median", "s, worst", "otherwise"
    table = Table(*names, title="SIMULATED")
    everything = {}
    with ProcessPoolExecutor(given.workers) as pool:
        for kind in given.kinds:
            count = given.good if kind == "good" else given.cases
            work = pool.map(partial(verdict, kind), range(count))
            verdicts = list(track(work, kind, count, console=Console(stderr=True), transient=True))
            everything[kind] = [each._asdict() for each in verdicts]
            reasons, seconds = zip(*verdicts, strict=True)
            right = [bool(reason) and bool(REASONS[kind]) and REASONS[kind] in reason for reason in reasons]
            others = Counter(reason[:48] or "accepted" for reason, fine in zip(reasons, right, strict=True) if not fine)
            table.add_row(
                kind,
                str(count),
                f"{np.mean([bool(reason) for reason in reasons]):.1%}",
                f"{np.mean(right):.1%}" if REASONS[kind] else "",
                f"{np.median(seconds):.1f}",
                f"{max(seconds):.1f}",
                "\n".join(f"{times} {reason}" for reason, times in others.most_common(3)),
            )
            if given.out:
                given.out.write_text(json.dumps(everything))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
