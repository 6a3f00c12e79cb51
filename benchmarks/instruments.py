"""What real instruments do to the estimate: each effect alone and all together, and detectors that nobody calibrated.

    python benchmarks/instruments.py --cases 200
    python benchmarks/instruments.py --effects "line jitter" "all unmodeled" --cases 50 --json
    python benchmarks/instruments.py --detectors --cases 500

Images come from the independent Cartesian simulator at 350 photons, wavefronts of 120 mλ, the bead off center by 20 nm
along each axis (standard deviation); with every effect the same wavefronts. "Unmodeled" is what no model of an image
knows, as strong as ``draw_unmodeled`` says; "known" effects are drawn as ``KNOWN`` says. The images are kept below
benchmarks/.cache and made anew where the simulator has changed, so that only the estimates are repeated.

With --detectors the same photons are counted by detectors of a gain of 0.05 to 20 counts a photon (uniform logarithm),
a baseline of up to 1,000 counts and read noise of up to 5 % of the crest. "Known" takes gain and baseline out again and
knows the read noise; "measured" sees the counts alone.

Shares of errors within sigmas are over all modes of accepted images; "> 3 σ" are images accepted with a total error
beyond three of their total sigmas.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from estimates import BACKGROUND, KINDS, hidden_world, image
from rich.console import Console
from rich.progress import track
from rich.table import Table

import stedalign as sa
from stedalign.estimation.checks import ImageError
from stedalign.estimation.estimator import Estimator
from stedalign.files import replacing
from stedalign.imaging.detector import Detector
from stedalign.jobs.estimate import default_network, make_estimator
from stedalign.simulator import world as simulated
from stedalign.simulator.hidden import HiddenWorld, IndexLayer
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.unmodeled import EFFECTS, draw_unmodeled

Draw = np.random.Generator
PHOTONS = 350.0
CACHE = Path(__file__).parent / ".cache" / "instruments"
SIMULATOR = b"".join(file.read_bytes() for file in sorted(Path(simulated.__file__).parent.glob("*.py")))
"""Its source as it was when this started: images of another one are not used."""
SHOWN = "line jitter", "fringes", "baseline", "crosstalk", "flatness"
"""The unmodeled effects of "all unmodeled"; spoiled pixels and lines, which are masked and not modeled, stand apart."""


def pair(draw: Draw, sigma: float) -> tuple[float, float]:
    x, y = draw.normal(scale=sigma, size=2).tolist()
    return x, y


KNOWN: dict[str, Callable[[Draw], dict[str, Any]]] = {
    "scale of z": lambda draw: {"pixel_error": (0.0, 0.0, draw.uniform(-0.3, 0.3))},
    "lateral scale": lambda draw: {"pixel_error": (*draw.uniform(-0.05, 0.05, size=2).tolist(), 0.0)},
    "shear": lambda draw: {"shear": pair(draw, 0.05)},
    "pinhole": lambda draw: {"pinhole_airy": float(0.7 * (5 / 0.7) ** draw.uniform())},
    "bead size": lambda draw: {"bead_diameter_nm": draw.uniform(60, 110)},
    "fill and its center": lambda draw: {"fill": draw.uniform(0.9, 1.5), "fill_center": pair(draw, 0.03)},
    "index layer": lambda draw: {"layer": IndexLayer(thickness_nm=draw.uniform(0, 300), index=1.33)},
    "weight of Ez": lambda draw: {"ez_weight": draw.uniform(0.5, 1.5)},
    "polarization halves": lambda draw: {"halves_offset": pair(draw, 0.05), "halves_tilt": pair(draw, 0.03)},
}


def unmodeled(*names: str) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: {"unmodeled": draw_unmodeled(draw, names)}


def all_known(draw: Draw) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, hide in KNOWN.items():
        if name != "lateral scale":
            facts |= hide(draw)
    x, y, _ = KNOWN["lateral scale"](draw)["pixel_error"]
    return facts | {"pixel_error": (x, y, facts["pixel_error"][2])}


NONE = "none"
HIDE: dict[str, Callable[[Draw], dict[str, Any]]] = {
    NONE: lambda _: {},
    **{name: unmodeled(name) for name in EFFECTS},
    "all unmodeled": unmodeled(*SHOWN),
    **KNOWN,
    "all known": all_known,
    "everything": lambda draw: all_known(draw) | unmodeled(*EFFECTS)(draw),
}


@dataclass(frozen=True)
class Case:
    """What came of one image; errors in rms waves."""

    seed: int
    accepted: bool
    reason: str
    error: float
    """nan where no estimate was made."""
    sigma: float
    scores: list[float]
    """Errors of the modes over their sigmas."""
    chi2: float
    seconds: float


def worlds(effect: str, cases: int) -> list[HiddenWorld]:
    """What each image hides, and the same wavefronts and places whatever the effect."""
    found = []
    for seed in range(cases):
        draw = np.random.default_rng([19, seed])
        plain = hidden_world(KINDS["normal"], draw, sa.Setup().modes)
        found.append(HiddenWorld(**(dict(plain) | HIDE[effect](draw))))
    return found


def images(effect: str, hidden: Sequence[HiddenWorld]) -> np.ndarray:
    """Counts (images, 3, N, N): those kept from earlier runs, and new ones."""
    setup, file = sa.Setup(), CACHE / f"{effect.replace(' ', '_')}.npz"
    source = digest(SIMULATOR + Instrument.of(setup).model_dump_json().encode())
    keys = [digest(f"{seed} {each.model_dump_json()}".encode()) for seed, each in enumerate(hidden)]
    kept: dict[str, np.ndarray] = {}
    if file.exists():
        with np.load(file) as old:
            if str(old["source"]) == source:
                kept = dict(zip(old["keys"].tolist(), old["counts"], strict=True))
    missing = [seed for seed, key in enumerate(keys) if key not in kept]
    for seed in shown(missing, f"simulating {effect}"):
        kept[keys[seed]] = image(setup, hidden[seed], PHOTONS, seed).data
    if missing:
        CACHE.mkdir(parents=True, exist_ok=True)
        counts = np.stack(list(kept.values())).astype(np.uint16)
        with replacing(file) as temporary:
            np.savez_compressed(temporary, source=source, keys=list(kept), counts=counts)
    return np.stack([kept[key] for key in keys]).astype(float)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def shown(seeds: Sequence[int], what: str) -> Iterator[int]:
    return iter(track(seeds, what, console=Console(stderr=True), transient=True))


def judge(estimator: Estimator, counts: np.ndarray, hidden: HiddenWorld, seed: int) -> Case:
    sections = sa.OrthoSections(counts, sa.Setup().sampling.pixel_nm, simulated=True)
    begin = time.perf_counter()
    try:
        found = estimator(sections)
    except ImageError as error:
        seconds = time.perf_counter() - begin
        return Case(seed, False, str(error), np.nan, np.nan, [], np.nan, seconds)
    seconds = time.perf_counter() - begin
    error, sigma = found.wavefront.array - hidden.aberration.array, np.array(found.sigma_waves)
    return Case(
        seed,
        found.accepted,
        found.reason,
        float(np.linalg.norm(error)),
        found.rms_sigma_waves,
        (error / sigma).tolist(),
        found.reduced_chi2,
        seconds,
    )


def of_effect(effect: str, cases: int) -> list[Case]:
    setup = sa.Setup()
    hidden = worlds(effect, cases)
    counts, estimator = images(effect, hidden), make_estimator(setup, default_network(setup))
    return [judge(estimator, counts[seed], hidden[seed], seed) for seed in shown(range(cases), effect)]


def of_detectors(cases: int) -> dict[str, list[Case]]:
    """The same photons, counted by unknown detectors: what a known one tells, and what the counts alone do."""
    setup = sa.Setup()
    network, hidden = default_network(setup), worlds(NONE, cases)
    found: dict[str, list[Case]] = {"known": [], "measured": []}
    photons = images(NONE, hidden)
    measuring = make_estimator(setup.model_copy(update={"detector": measured(setup.detector)}), network)
    for seed in shown(range(cases), "detectors"):
        draw = np.random.default_rng([23, seed])
        gain, baseline = float(np.exp(draw.uniform(np.log(0.05), np.log(20)))), draw.uniform(0, 1000)
        noise = draw.uniform(0, 0.05) * PHOTONS
        counts = np.rint(baseline + gain * (photons[seed] + draw.normal(scale=noise, size=photons[seed].shape)))
        known = setup.detector.model_copy(update={"read_noise": np.hypot(noise, 12**-0.5 / gain)})
        knowing = make_estimator(setup.model_copy(update={"detector": known}), network)
        found["known"].append(judge(knowing, (counts - baseline) / gain, hidden[seed], seed))
        found["measured"].append(judge(measuring, counts, hidden[seed], seed))
    return found


def measured(detector: Detector) -> Detector:
    """A detector of which nothing is known but what an image tells."""
    return Detector.parse(detector.model_dump() | dict.fromkeys(("baseline", "gain", "read_noise"), "measure"))


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """What the table shows; errors in mλ."""
    accepted = [case for case in cases if case.accepted]
    scores = np.abs([case.scores for case in accepted]) if accepted else np.full((1, 1), np.nan)
    beyond = [case.error > 3 * case.sigma for case in accepted]
    reasons = Counter(case.reason.split("(")[0].split(":")[0].strip() for case in cases if not case.accepted)
    return {
        "images": len(cases),
        "accepted": len(accepted) / len(cases),
        "median_error": median(1e3 * case.error for case in accepted),
        "median_error_of_all": median(1e3 * case.error for case in cases if np.isfinite(case.error)),
        "median_sigma": median(1e3 * case.sigma for case in accepted),
        "within_1_sigma": float(np.mean(scores < 1)) if accepted else None,
        "within_1.96_sigma": float(np.mean(scores < 1.96)) if accepted else None,
        "accepted_beyond_3_sigmas": sum(beyond) / len(cases),
        "median_chi2": median(case.chi2 for case in cases if np.isfinite(case.chi2)),
        "refused": dict(reasons.most_common()),
        "median_seconds": median(case.seconds for case in cases),
        "longest_seconds": max(case.seconds for case in cases),
    }


def median(values: Iterator[float]) -> float | None:
    """None of no values."""
    found = list(values)
    return float(np.median(found)) if found else None


def draw_table(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    names = (
        "images",
        "cases",
        "accepted",
        "median",
        "of all",
        "sigma",
        "in 1 σ",
        "in 1.96 σ",
        "> 3 σ",
        "chi2",
        "refused",
    )
    table = Table(*names, "s", "longest", title=title)
    for name, row in rows.items():

        def show(key: str, form: str, row: dict[str, Any] = row) -> str:
            return "" if row[key] is None else format(row[key], form)

        table.add_row(
            name,
            str(row["images"]),
            show("accepted", ".1%"),
            show("median_error", ".2f"),
            show("median_error_of_all", ".2f"),
            show("median_sigma", ".2f"),
            show("within_1_sigma", ".1%"),
            show("within_1.96_sigma", ".1%"),
            show("accepted_beyond_3_sigmas", ".1%"),
            show("median_chi2", ".2f"),
            "\n".join(f"{times} {reason[:40]}" for reason, times in row["refused"].items()),
            show("median_seconds", ".2f"),
            show("longest_seconds", ".1f"),
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effects", nargs="*", choices=list(HIDE), default=list(HIDE), metavar="NAME")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--detectors", action="store_true", help="unknown detectors, in place of the effects")
    parser.add_argument("--json", action="store_true", help="print the summaries as one JSON object instead of a table")
    parser.add_argument("--out", type=Path, help="write every case there, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[Case]] = {}
    if given.detectors:
        found = of_detectors(given.cases)
    else:
        for effect in given.effects:
            found[effect] = of_effect(effect, given.cases)
            if given.out:
                given.out.write_text(
                    json.dumps({name: [asdict(case) for case in cases] for name, cases in found.items()})
                )
    rows = {name: summary(cases) for name, cases in found.items()}
    title = f"SIMULATED, {PHOTONS:g} photons, {BACKGROUND:.0%} background; errors in mλ"
    if given.detectors:
        known, blind = (rows[name]["median_error_of_all"] for name in ("known", "measured"))
        rows["measured"]["error_over_known"] = blind / known
        title += f"; measured over known {blind / known:.3f}"
    if given.out:
        given.out.write_text(json.dumps({name: [asdict(case) for case in cases] for name, cases in found.items()}))
    if given.json:
        print(json.dumps(rows))
    else:
        Console(width=170).print(draw_table(title, rows))


if __name__ == "__main__":
    main()
