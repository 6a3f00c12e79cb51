"""Estimates of images that no code of ours made: by the public simulators psf-generator, PyCustomFocus and faser.

    python benchmarks/foreign.py --count 30

The instrument is the default setup's: NA 1.4, n 1.518, 775 nm, matched circular light of uniform fill, sine condition,
vortex; three sections of 64 x 64 pixels of 31.25 nm. Each image has its own wavefront of the 11 default modes (normal,
of 0.05 to 0.1 peak waves), its bead off center by up to half a pixel along each axis, 350 photons at the crest and 2 %
background. The estimator is told the diameter of the bead and nothing else of what differs from case to case; its
network knows 80 nm beads only.

"error" is the rms over the 11 modes together, the median of all images that gave an estimate; "in 2 σ" is the share of
the accepted ones with an error of at most twice the rms sigma of the estimate over the same modes.

Each simulator runs in an environment of its own below benchmarks/.peers, made at the first run, and what it simulated
is kept there without noise: estimating again needs no simulator.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers.environments import CACHE, Unavailable
from peers.images import DEFAULT, PIXEL_NM, SIMULATORS, SUBJECTS, Truth, image_path, make_images
from rich.console import Console
from rich.progress import track
from rich.table import Table
from throughput import VORTEX, exact

import stedalign as sa
from stedalign.estimation.checks import ImageError
from stedalign.estimation.estimator import Estimator
from stedalign.imaging.detector import Bead
from stedalign.jobs.estimate import default_network, make_estimator

Floats = NDArray[np.float64]
PHOTONS, BACKGROUND = 350, 0.02
GAIN = 3
SIGMA, BASELINE = 0.02, 500
"""Of a detector with Gaussian noise: sigma as a fraction of the crest, baseline in counts."""


def expected(sections: Floats) -> Floats:
    return PHOTONS * (sections + BACKGROUND)


def poisson(draw: np.random.Generator, sections: Floats) -> Floats:
    return draw.poisson(expected(sections)).astype(float)


def multiplied(draw: np.random.Generator, sections: Floats) -> Floats:
    return GAIN * poisson(draw, sections)


def gaussian(draw: np.random.Generator, sections: Floats) -> Floats:
    return np.rint(BASELINE + draw.normal(expected(sections), SIGMA * PHOTONS))


@dataclass(frozen=True)
class Case:
    """A row of the table for each simulator."""

    title: str
    subject: str
    counts: Callable[[np.random.Generator, Floats], Floats] = poisson


CASES = {
    "point": Case("point", "point"),
    "bead": Case("80 nm bead", "bead"),
    "higher-6": Case("n = 5, 6 of 6 mλ", "higher-6"),
    "higher-10": Case("n = 5, 6 of 10 mλ", "higher-10"),
    "higher-30": Case("n = 5, 6 of 30 mλ", "higher-30"),
    "pinhole": Case("pinhole of 1 Airy unit", "pinhole"),
    "gain": Case(f"80 nm bead, {GAIN} counts a photon", "bead", multiplied),
    "gaussian": Case(f"80 nm bead, Gaussian {SIGMA:.0%}, baseline {BASELINE}", "bead", gaussian),
}


@dataclass(frozen=True)
class Outcome:
    """What came of one image; nan where there was no estimate."""

    seed: int
    accepted: bool
    reason: str
    seconds: float
    error_waves: float = np.nan
    sigma_waves: float = np.nan
    reduced_chi2: float = np.nan

    @property
    def holds(self) -> bool:
        return self.error_waves <= 2 * self.sigma_waves

    def to_json(self) -> dict[str, Any]:
        return {name: None if value != value else value for name, value in asdict(self).items()}


@cache
def estimator(bead_nm: float) -> Estimator:
    setup = sa.Setup()
    network = default_network(setup)
    return make_estimator(setup.model_copy(update={"bead": Bead(diameter_nm=bead_nm)}), network)


def run(name: str, case: Case, seed: int, folder: Path) -> Outcome:
    with np.load(image_path(folder, name, case.subject, seed)) as kept:
        sections = kept["sections"].astype(float)
    counts = case.counts(np.random.default_rng([13, seed]), sections)
    image = sa.OrthoSections(counts, (PIXEL_NM,) * 3)
    estimate_image = estimator(SUBJECTS[case.subject].bead_nm)
    start = time.perf_counter()
    try:
        estimate = estimate_image(image)
    except ImageError as error:
        return Outcome(seed, False, str(error), time.perf_counter() - start)
    seconds = time.perf_counter() - start
    wavefront = estimate.wavefront
    values = {(mode.n, mode.m): waves for mode, waves in zip(wavefront.modes, wavefront.waves, strict=True)}
    error = np.array([values[pair] for pair in DEFAULT]) - Truth.draw(seed).waves
    return Outcome(
        seed,
        estimate.accepted,
        estimate.reason,
        seconds,
        error_waves=float(np.linalg.norm(error)),
        sigma_waves=estimate.rms_sigma_waves,
        reduced_chi2=estimate.reduced_chi2,
    )


def kinds_of(reasons: Sequence[str]) -> str:
    """Reasons of refusals counted, without the numbers in them, one a line."""
    counted = Counter(re.sub(r"\b\d+(\.\d+)?", "…", reason) for reason in reasons)
    return "\n".join(f"{count} x {reason}" for reason, count in counted.most_common())


def row(case: Case, outcomes: Sequence[Outcome]) -> list[str]:
    accepted = [outcome for outcome in outcomes if outcome.accepted]
    return [
        case.title,
        str(len(outcomes)),
        f"{len(accepted) / len(outcomes):.0%}",
        f"{1e3 * np.nanmedian([outcome.error_waves for outcome in outcomes]):.2f}",
        f"{np.mean([outcome.holds for outcome in accepted]):.0%}" if accepted else "",
        f"{np.nanmedian([outcome.reduced_chi2 for outcome in outcomes]):.2f}",
        f"{np.median([outcome.seconds for outcome in outcomes]):.2f}",
        kinds_of([outcome.reason for outcome in outcomes if not outcome.accepted]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30, help="images of each simulator and case")
    parser.add_argument("--simulators", nargs="+", choices=list(SIMULATORS), default=list(SIMULATORS))
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--only-simulate", action="store_true", help="make what is missing, estimate nothing")
    parser.add_argument("--peers", type=Path, default=CACHE, help="where environments and images are or will be made")
    parser.add_argument("--json", type=Path, help="write every outcome there")
    given = parser.parse_args()
    torch.set_num_threads(1)
    console, progress = Console(width=150), Console(stderr=True)
    subjects = list(dict.fromkeys(CASES[case].subject for case in given.cases))
    everything: dict[str, dict[str, list[Outcome]]] = {}
    for name in given.simulators:
        try:
            with progress.status(name) as status:
                make_images(
                    name,
                    subjects,
                    range(given.count),
                    cache=given.peers,
                    reference=lambda points, modes: exact(VORTEX, points, modes),
                    say=status.update,
                )
        except Unavailable as problem:
            console.print(f"{name}: {problem}")
            continue
        if given.only_simulate:
            continue
        shown = Table(title=f"images by {name}", title_justify="left")
        for column in ("case", "images", "accepted", "error (mλ)", "in 2 σ", "chi2", "s", "refused"):
            shown.add_column(column, justify="left" if column in ("case", "refused") else "right")
        everything[name] = {}
        for key in given.cases:
            work = track(range(given.count), f"{name}, {CASES[key].title}", console=progress, transient=True)
            everything[name][key] = [run(name, CASES[key], seed, given.peers) for seed in work]
            shown.add_row(*row(CASES[key], everything[name][key]))
            if given.json:
                given.json.write_text(json.dumps(everything, default=Outcome.to_json), encoding="utf-8")
        console.print(shown)


if __name__ == "__main__":
    main()
