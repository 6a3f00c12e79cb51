"""How near estimates come to the bound, whether their error bars hold, and what an unknown instrument costs.

    python benchmarks/estimates.py --cases 500 --workers 2

Images come from the independent Cartesian simulator through the 8-bit mask, the bead off center by 20 nm along each
axis (standard deviation), estimated by the packaged network and the fit; with --image xy the xy section alone, by the
fit from zero, with --image volume all planes. The bound is that of a known instrument: modes, shift, light and
background of each section. "unknown instrument" hides, together: a fill of 0.9 to 1.5 where the setup says uniform, 10
to 30 nm of drift after each section, up to 40 nm of blur, up to 8 degrees of ellipticity at any azimuth, a mask offset
of up to 0.15 pupil radii, and pixels of up to 3 % another size along each axis.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import stedalign as sa
from stedalign.estimation.bound import cramer_rao
from stedalign.estimation.checks import Limits
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import FocalSection, View, Volume
from stedalign.jobs.estimate import default_network, make_estimator
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.microscope import build_simulated

BACKGROUND = 0.02


@dataclass(frozen=True)
class Kind:
    """One row of the table."""

    name: str
    photons: float
    peak_waves: Callable[[np.random.Generator, int], np.ndarray]
    unknown: bool = False


KINDS = {
    "normal": Kind("120 mλ, 350 photons", 350, lambda draw, count: draw.normal(scale=0.1, size=count)),
    "uniform": Kind("uniform ±0.3, 350 photons", 350, lambda draw, count: draw.uniform(-0.3, 0.3, size=count)),
    "dim": Kind("120 mλ, 50 photons", 50, lambda draw, count: draw.normal(scale=0.1, size=count)),
    "bright": Kind("120 mλ, 3000 photons", 3000, lambda draw, count: draw.normal(scale=0.1, size=count)),
    "strong": Kind("360 mλ, 350 photons", 350, lambda draw, count: draw.normal(scale=0.3, size=count)),
    "unknown": Kind("120 mλ, unknown instrument", 350, lambda draw, count: draw.normal(scale=0.1, size=count), True),
}


@dataclass(frozen=True)
class Case:
    """What came of one image; errors in rms waves and pupil radii."""

    error: float
    sigma: float
    bound: float
    """Of this image of a known instrument."""
    offset_error: float
    scores: list[float]
    """Errors of the modes over their sigmas."""
    chi2: float
    accepted: bool
    reason: str
    start: str
    seconds: float
    alone: float
    """Error of one fit from zero, without network and search."""


def hidden_world(kind: Kind, draw: np.random.Generator, modes: sa.ModeSet) -> HiddenWorld:
    facts: dict[str, Any] = {
        "aberration": sa.Wavefront.from_peak_waves(modes, kind.peak_waves(draw, len(modes))),
        "bead_nm": tuple(draw.normal(scale=20, size=3)),
    }
    if kind.unknown:
        radius, angle = 0.15 * np.sqrt(draw.uniform()), draw.uniform(0, 2 * np.pi)
        facts |= {
            "fill": draw.uniform(0.9, 1.5),
            "drift_nm": draw.uniform(10, 30),
            "blur_nm": draw.uniform(0, 40),
            "ellipticity_error_deg": draw.uniform(0, 8),
            "ellipse_azimuth_deg": draw.uniform(-90, 90),
            "mask_shift": (radius * np.cos(angle), radius * np.sin(angle)),
            "pixel_error": tuple(draw.uniform(-0.03, 0.03, size=3)),
        }
    return HiddenWorld(**facts)


def image(
    setup: sa.Setup, hidden: HiddenWorld, photons: float, seed: int, what: str = "sections"
) -> sa.OrthoSections | FocalSection | Volume:
    detector = setup.detector.model_copy(update={"photons": photons, "background": BACKGROUND})
    microscope = build_simulated(
        setup.objective, setup.depletion, setup.bead, setup.sampling, detector, setup.slm, setup.stage, setup.modes,
        seed, hidden=hidden,
    )  # fmt: skip
    microscope.shutter.open()
    pixel_nm = setup.sampling.pixel_nm
    if what == "volume":
        counts = np.random.default_rng([17, seed]).poisson(detector.expected(microscope.world.volume()))
        return Volume(counts, pixel_nm, simulated=True)
    sections = microscope.source.acquire()
    return FocalSection(sections.data[0], pixel_nm, simulated=True) if what == "xy" else sections


@cache
def estimator(whole: bool) -> Any:
    """With network and search, or the fit from zero alone."""
    setup = sa.Setup()
    if whole:
        return make_estimator(setup, default_network(setup))
    return make_estimator(setup.model_copy(update={"limits": Limits(search_generations=0)}), None)


@cache
def known_instrument(view: View) -> ForwardModel:
    setup = sa.Setup()
    return ForwardModel(setup.forward, setup.modes, view=view)


def run(kind_name: str, what: str, from_zero: bool, seed: int) -> Case:
    torch.set_num_threads(1)
    kind, setup = KINDS[kind_name], sa.Setup()
    hidden = hidden_world(kind, np.random.default_rng([7, seed]), setup.modes)
    sections = image(setup, hidden, kind.photons, seed, what)
    begin = time.perf_counter()
    found = estimator(True)(sections)
    seconds = time.perf_counter() - begin
    truth, model = hidden.aberration.array, known_instrument(sections.view)
    parameters = torch.zeros(1, len(model.names))
    parameters[0, : len(truth)] = torch.from_numpy(truth)
    parameters[0, model.shift] = torch.tensor(hidden.bead_nm).float()
    parameters[0, model.scale], parameters[0, model.background] = kind.photons, kind.photons * BACKGROUND
    error = found.wavefront.array - truth
    offset = [found.nuisances[f"mask_offset_{axis}"][0] for axis in "xy"]
    alone = estimator(False)(sections).wavefront.array - truth if from_zero else np.full(1, np.nan)
    return Case(
        error=float(np.linalg.norm(error)),
        sigma=found.rms_sigma_waves,
        bound=float(cramer_rao(model, parameters)[0, : len(truth)].norm()),
        offset_error=float(np.hypot(*np.subtract(offset, hidden.mask_shift))),
        scores=(error / np.array(found.sigma_waves)).tolist(),
        chi2=found.reduced_chi2,
        accepted=found.accepted,
        reason=found.reason,
        start=found.start,
        seconds=seconds,
        alone=float(np.linalg.norm(alone)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--image", choices=["sections", "xy", "volume"], default="sections")
    parser.add_argument(
        "--from-zero", action="store_true", help="run one fit from zero, too, without network and search"
    )
    parser.add_argument("--out", type=Path, help="write every case there, as JSON")
    given = parser.parse_args()
    names = "images", "median", "95 %", "bound", "ratio", "< 3 bounds", "< 10 mλ", "in 1 σ", "in 1.96 σ", "worst mode"
    table = Table(
        *names,
        "offset",
        "chi2",
        "refused",
        "from zero < 10",
        "ms",
        title=f"{given.cases} SIMULATED cases each ({given.image}), mλ",
    )
    everything = {}
    with ProcessPoolExecutor(given.workers) as pool:
        for name in given.kinds:
            work = pool.map(partial(run, name, given.image, given.from_zero), range(given.cases))
            shown = track(work, KINDS[name].name, given.cases, console=Console(stderr=True), transient=True)
            cases = everything[name] = list(shown)
            error, bound = (1e3 * np.array([getattr(case, key) for case in cases]) for key in ("error", "bound"))
            inside = [np.abs([case.scores for case in cases]) < limit for limit in (1.0, 1.96)]
            worst = max(
                np.abs(part.mean(axis=0) - goal).max() for part, goal in zip(inside, (0.6827, 0.95), strict=True)
            )
            alone = np.array([case.alone for case in cases])
            table.add_row(
                KINDS[name].name,
                f"{np.median(error):.2f}",
                f"{np.quantile(error, 0.95):.2f}",
                f"{np.median(bound):.2f}",
                f"{np.median(error / bound):.2f}",
                f"{np.mean(error < 3 * bound):.1%}",
                f"{np.mean(error < 10):.1%}",
                *(f"{part.mean():.1%}" for part in inside),
                f"{worst:.1%}",
                f"{np.median([case.offset_error for case in cases]):.4f}",
                f"{np.median([case.chi2 for case in cases]):.3f}",
                f"{np.mean([not case.accepted for case in cases]):.1%}",
                f"{np.mean(alone < 0.01):.0%}" if given.from_zero else "",
                f"{1e3 * np.median([case.seconds for case in cases]):.0f}",
            )
            if given.out:
                found = {kind: [asdict(case) for case in of_kind] for kind, of_kind in everything.items()}
                given.out.write_text(json.dumps(found))
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
