"""How well spot minus zero follows from one scan by both beams, and whether its error bars hold.

    python benchmarks/overlay.py --cases 200

Images come from the independent Cartesian simulator at 350 photons: wavefronts of 120 mλ in the depletion and 40 mλ in
the excitation beam, foci apart by 30 nm along x and y and 80 nm along z (standard deviations), a bead that drifts by 10
nm after each section, 15 nm of blur, pixels that are off by 1 % across and 10 % along z, fills of 0.9 to 1.5. "Foci" is
the distance of the foci without their wavefronts, which is what was put in; "as they are" that of the darkest and the
brightest point, as noise-free images of the simulator on finer pixels tell it (z: where the light is most
concentrated), "corrected" with the depletion beam's wavefront taken out. At 120 mλ a donut may have two zeros that are
as dark: medians count there. Shares of errors within sigmas are over x, y, z.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from estimates import BACKGROUND
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import stedalign as sa
from stedalign.estimation.two_beams import estimate_two_beams
from stedalign.jobs.estimate import default_network, make_estimator
from stedalign.simulator.hidden import HiddenExcitation, HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build

Floats = NDArray[np.float64]
PHOTONS = 350.0
FINE_NM, FINE_ALONG_Z_NM, FINE_SAMPLES = 8.0, 25.0, 64
NEAR_NM = 160.0
"""How far from the focus a zero or a spot is looked for."""


@dataclass(frozen=True)
class Case:
    """Errors (3,) in nm of foci, places as they are, and places after a correction, and their sigmas."""

    errors: Floats
    sigmas: Floats
    wavefront_errors: tuple[float, float]
    seconds: float
    reason: str


def hidden_world(draw: np.random.Generator, modes: sa.ModeSet) -> HiddenWorld:
    def wavefront(peak_waves: float) -> sa.Wavefront:
        return sa.Wavefront.from_peak_waves(modes, draw.normal(scale=peak_waves, size=len(modes)))

    across = draw.normal(scale=0.01)
    return HiddenWorld(
        aberration=wavefront(0.1),
        bead_nm=tuple(draw.normal(scale=20, size=3)),
        drift_nm=10.0,
        blur_nm=15.0,
        fill=draw.uniform(0.9, 1.5),
        pixel_error=(across, across, draw.normal(scale=0.1)),
        excitation=HiddenExcitation(
            aberration=wavefront(0.033),
            displacement_nm=tuple(draw.normal(scale=(30, 30, 80)).tolist()),
            fill=draw.uniform(0.9, 1.5),
        ),
    )


def places(setup: sa.Setup, hidden: HiddenWorld) -> tuple[Floats, Floats]:
    """Where zero and spot lie (x, y, z in nm), on fine pixels without drift, blur and noise."""
    fine = sa.Setup().sampling.model_copy(
        update={"samples": FINE_SAMPLES, "pixel_nm": (FINE_NM, FINE_NM, FINE_ALONG_Z_NM)}
    )
    still = hidden.model_copy(update={"drift_nm": 0.0, "blur_nm": 0.0, "pixel_error": (0.0, 0.0, 0.0)})
    microscope = build(Instrument.of(setup).model_copy(update={"sampling": fine}), still, 0)
    microscope.shutter.open()
    bead = np.array(hidden.bead_nm)
    return (
        _place(microscope.truth.intensity(), bead, 1.0),
        _place(microscope.excitation.world.intensity(), bead + hidden.excitation.displacement_nm, -1.0),
    )


def _place(sections: Floats, focus_nm: Floats, sign: float) -> Floats:
    xy, xz, yz = sections
    around = (np.arange(FINE_SAMPLES) - (FINE_SAMPLES - 1) / 2) * FINE_NM
    beside, above = (np.where(np.abs(around - place) < NEAR_NM, 0.0, np.inf) for place in focus_nm[:2])
    row, column = np.unravel_index((sign * xy + above[:, None] + beside).argmin(), xy.shape)
    patch = xy[row - 2 : row + 3, column - 2 : column + 3]
    y, x = (part.flatten() for part in np.mgrid[-2:3, -2:3])
    _, a, b, c, d, e = np.linalg.lstsq(np.stack([x**0, x, y, x * x, x * y, y * y], 1), patch.flatten(), rcond=None)[0]
    dx, dy = np.linalg.solve([[2 * c, d], [d, 2 * e]], [-a, -b])
    heights = []
    for section in (xz, yz):
        sharpness = ((section - section.min()) ** 2).sum(axis=1)
        top = int(sharpness.argmax())
        bend, slope, _ = np.polyfit([-1, 0, 1], sharpness[top - 1 : top + 2], 2)
        heights.append((top - slope / (2 * bend) - (FINE_SAMPLES - 1) / 2) * FINE_ALONG_Z_NM)
    return np.array([around[column] + dx * FINE_NM, around[row] + dy * FINE_NM, np.mean(heights)])


def run(seed: int) -> Case:
    torch.set_num_threads(1)
    setup = sa.Setup()
    draw = np.random.default_rng([31, seed])
    hidden = hidden_world(draw, setup.modes)
    detector = setup.detector.model_copy(update={"photons": PHOTONS, "background": BACKGROUND})
    microscope = build(Instrument.of(setup).model_copy(update={"detector": detector}), hidden, seed)
    microscope.shutter.open()
    images = microscope.source.acquire(), microscope.excitation.acquire()
    by_excitation = make_estimator(setup.model_copy(update={"depletion": setup.excitation}), None)
    begin = time.perf_counter()
    both = estimate_two_beams(make_estimator(setup, default_network(setup)), by_excitation, images)
    seconds = time.perf_counter() - begin
    reason = both.depletion.reason or both.excitation.reason
    misses = [
        float(np.linalg.norm(estimate.wavefront.array - truth.array))
        for estimate, truth in (
            (both.depletion, hidden.aberration),
            (both.excitation, hidden.excitation.aberration),
        )
    ]
    if both.overlay is None:
        return Case(np.full((3, 3), np.nan), np.full((3, 3), np.nan), tuple(misses), seconds, reason)
    zero, spot = places(setup, hidden)
    mended, _ = places(setup, hidden.model_copy(update={"aberration": sa.Wavefront.zero(setup.modes)}))
    truths = np.array([hidden.excitation.displacement_nm, spot - zero, spot - mended])
    overlay = both.overlay
    told = np.array([overlay.foci_apart_nm, overlay.spot_minus_zero_nm, overlay.after_correction_nm])
    sigmas = np.array([overlay.foci_apart_sigma_nm, overlay.sigma_nm, overlay.after_correction_sigma_nm])
    return Case(told - truths, sigmas, tuple(misses), seconds, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    given = parser.parse_args()
    cases = [run(seed) for seed in track(range(given.cases), "scans")]
    fine = [case for case in cases if not case.reason]
    table = Table(title=f"{len(fine)} of {len(cases)} accepted")
    for name in ("distance", "x (nm, rms)", "y", "z", "median |x|, |y|", "median |z|", "in 1 σ", "in 1.96 σ"):
        table.add_column(name, justify="left" if name == "distance" else "right")
    errors, sigmas = (np.array([getattr(case, name) for case in fine]) for name in ("errors", "sigmas"))
    for row, name in enumerate(("foci", "as they are", "corrected")):
        error = np.abs(errors[:, row])
        score = error / sigmas[:, row]
        table.add_row(
            name,
            *(f"{value:.2f}" for value in np.sqrt(np.square(error).mean(axis=0))),
            f"{np.median(error[:, :2]):.2f}",
            f"{np.median(error[:, 2]):.2f}",
            f"{(score < 1).mean():.0%}",
            f"{(score < 1.96).mean():.0%}",
        )
    console = Console(width=140)
    console.print(table)
    zero, spot = np.median([case.wavefront_errors for case in fine], axis=0)
    seconds = np.median([case.seconds for case in cases])
    console.print(
        f"wavefront, median: depletion {1e3 * zero:.2f}, excitation {1e3 * spot:.2f} mλ; {seconds:.1f} s a scan"
    )
    for case in cases:
        if case.reason:
            console.print(f"refused: {case.reason}")


if __name__ == "__main__":
    main()
