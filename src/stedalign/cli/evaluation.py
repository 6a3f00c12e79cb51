"""The command that judges a network: evaluate."""

from __future__ import annotations

from enum import StrEnum
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from stedalign.cli.options import (
    Json,
    SetupFile,
    Weights,
    print_json,
    read_setup,
    run_folder,
)
from stedalign.cli.progress import shown
from stedalign.ranges import LARGEST_SEED, MOST_BACKGROUND, MOST_IMAGES, MOST_PHOTONS

if TYPE_CHECKING:
    from stedalign.evaluation.comparison import Comparison
    from stedalign.evaluation.mismatch import MismatchComparison, MismatchCurve
    from stedalign.jobs.evaluate import Evaluation


class Shown(StrEnum):
    """The estimators, as ``evaluation.estimators`` names them."""

    NETWORK = "network"
    FIT = "fit"
    HYBRID = "hybrid"


FROM_TRAINING = "as in the [noise] of the training without it."
Photons = Annotated[
    float | None,
    typer.Option(min=0, max=MOST_PHOTONS, help=f"Counts at the crest, 0 = no noise; {FROM_TRAINING}"),
]
Background = Annotated[
    float | None,
    typer.Option(min=0, max=MOST_BACKGROUND, help=f"Background as a fraction of the crest; {FROM_TRAINING}"),
]


def evaluate(
    data: Annotated[
        Path | None, typer.Option(help="Dataset whose test split is taken; without it, dataset.h5 beside --weights.")
    ] = None,
    weights: Weights = None,
    setup: SetupFile = None,
    photons: Photons = None,
    background: Background = None,
    estimator: Annotated[
        list[Shown] | None,
        typer.Option(help="Run this one: the network alone, the fit from zero, or from the network; repeat; else all."),
    ] = None,
    fit: Annotated[
        int, typer.Option(min=0, max=MOST_IMAGES, help="So many images are fitted too, for comparison; 0 = none.")
    ] = 100,
    mismatch: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_IMAGES,
            help="So many images at each step of each mismatch between setup and truth; 0 = none.",
        ),
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the noise.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, max=MOST_IMAGES, help="Only the first so many images.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for images and numbers; new under runs/.")] = None,
    json: Json = False,
) -> None:
    """Evaluate a network on a dataset's test split, beside the fit and the Cramér-Rao bound.

    Fits and bound see three sections, whatever the network sees, and know what the data do not vary. Then some of the
    wavefronts are seen by simulated microscopes that are not as the setup says, in one respect after the other; the fit
    from the network is then the whole estimate, with the setup's [nuisances].
    """
    with shown("reading") as tell:
        from stedalign.jobs.evaluate import evaluate as job

        the_setup = read_setup(setup)
        folder = run_folder(out, "evaluate")
        done = job(
            the_setup,
            folder,
            data=data,
            weights=weights,
            photons=photons,
            background=background,
            estimators=estimator or list(Shown),
            fits=fit,
            mismatch=mismatch,
            seed=seed,
            limit=limit,
            progress=tell,
        )
    if json:
        print_json(done.to_json())
    else:
        _print(done, skipped=done.skipped if mismatch else "")


def _print(done: Evaluation, skipped: str) -> None:
    console, comparison, off = Console(highlight=False), done.comparison, done.against_mismatch
    # As titles of tables they would be broken where a table is narrow.
    console.print(done.title, style="italic")
    console.print(_table(comparison))
    if set(comparison.results) != {Shown.NETWORK} and comparison.outputs.modes is not None:
        console.print("modes: rms error; of the fits that ended below 10 mλ, of the bound the median")
    if off is not None:
        console.print(f"\nagainst mismatch, {done.mismatch_title}", style="italic")
        console.print(_mismatch_table(off))
    elif skipped:
        console.print(f"against mismatch: skipped, {skipped}")
    print(f"images and numbers  {done.run_folder}")


def _table(comparison: Comparison) -> Table:
    """Errors of each mode and axis, totals and correlations: the estimators and the bounds side by side."""
    from stedalign.evaluation.comparison import BOUND
    from stedalign.evaluation.errors import MISSED_WAVES, WAVEFRONT
    from stedalign.evaluation.estimators import NETWORK, TITLES
    from stedalign.imaging.images import PLANES

    results, bounds = comparison.results.values(), comparison.bounds.values()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("rms error (mλ)" if comparison.outputs.modes else "rms error", no_wrap=True)
    for title in (*(TITLES[name] for name in comparison.results), *comparison.bounds):
        # Words below each other, so that six columns fit a terminal.
        words = title.replace("zero", "\nzero").replace("+", "\n+").replace("xy", "\nxy")
        table.add_column(words.replace(" \n", "\n"), justify="right", no_wrap=True)

    def add(title: str, *cells: float | None, factor: float = 1, digits: str = ".2f") -> None:
        known = [None if cell is None or isnan(cell) else factor * cell for cell in cells]
        table.add_row(title, *("" if cell is None else f"{cell:{digits}}" for cell in known))

    of_network = NETWORK, f"{BOUND} {' '.join(comparison.planes)}"
    seen = [comparison.planes if name in of_network else PLANES for name in (*comparison.results, *comparison.bounds)]
    table.add_row("sections", *("three" if planes == PLANES else " ".join(planes) for planes in seen))
    counts = [len(result.correlations) for result in results]
    counts += [len(next(iter(bound.values())).sigma) for bound in bounds]
    table.add_row("images", *map(str, counts), end_section=True)
    for quantity in comparison.asked:
        is_wavefront = quantity == WAVEFRONT
        unit, factor, digits = ("mλ", 1e3, ".2f") if is_wavefront else ("pupil radii", 1, ".4f")
        estimated, least = [result.quantities[quantity] for result in results], [bound[quantity] for bound in bounds]
        # One fit that ended elsewhere would drown what the others reach.
        limit = MISSED_WAVES if is_wavefront else inf
        each = [
            values.rms if name == NETWORK else values.rms_within(limit)
            for name, values in zip(comparison.results, estimated, strict=True)
        ]
        each += [bound.median for bound in least]
        for row, name in enumerate(comparison.names(quantity)):
            title = name if is_wavefront else f"{name} ({unit})"
            add(title, *(values[row] for values in each), factor=factor, digits=digits)
        table.add_section()
        totals = [values.rms_total for values in estimated] + [bound.rms_total for bound in least]
        add(f"total, rms ({unit})", *totals, factor=factor, digits=digits)
        medians = [values.median_total for values in estimated] + [bound.median_total for bound in least]
        add(f"total, median ({unit})", *medians, factor=factor, digits=digits)
        if is_wavefront:
            missed = (values.share_above(MISSED_WAVES) for values in estimated)
            add(f"above {1e3 * MISSED_WAVES:g} mλ (%)", *missed, factor=100, digits=".1f")
            add("MSE (peak waves squared)", *(result.mse_peak_waves for result in results), digits=".2g")
        add("within 1 sigma (%)", *(values.within_sigma for values in estimated), factor=100, digits=".1f")
        table.add_section()
    add("correlation, mean", *(result.correlations.mean() for result in results), digits=".4f")
    if comparison.planes != PLANES:
        title = f"correlation of {' '.join(comparison.planes)}, mean"
        add(title, *(result.input_correlations.mean() for result in results), digits=".4f")
    return table


def _mismatch_table(off: MismatchComparison) -> Table:
    """Median errors without mismatch and with the highest level of each."""
    from stedalign.evaluation.mismatch import MISMATCH_TITLES

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("median total error (mλ)", no_wrap=True)
    table.add_column("at", justify="right", no_wrap=True)
    curves = list(off.curves.values())
    for name in curves[0].medians:
        table.add_column(MISMATCH_TITLES[name], justify="right", no_wrap=True)

    def add(title: str, level: str, curve: MismatchCurve, place: int) -> None:
        table.add_row(title, level, *(f"{1e3 * medians[place]:.2f}" for medians in curve.medians.values()))

    add("as the setup says", "", curves[0], curves[0].levels.index(curves[0].nominal))
    for curve in curves:
        add(curve.axis, f"{curve.levels[-1]:.3g}", curve, -1)
    return table
