"""Drawings of a comparison: examples, estimated against true, errors against strength, photons and mismatch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter
from numpy.typing import NDArray

from stedalign.evaluation.comparison import BOUND, SWEEP_PHOTONS, Comparison, Example
from stedalign.evaluation.errors import MASK_OFFSET, MISSED_WAVES, WAVEFRONT, QuantityErrors
from stedalign.evaluation.estimators import FIT, HYBRID, NETWORK, TITLES
from stedalign.evaluation.mismatch import ESTIMATE, MismatchComparison
from stedalign.reports.alignment import by_name, draw_planes, save

Floats = NDArray[np.float64]
UNITS = {WAVEFRONT: ("mλ", 1e3), MASK_OFFSET: ("pupil radii", 1.0)}
NAMES = {WAVEFRONT: "wavefront", MASK_OFFSET: "mask offset"}
MARKERS = {NETWORK: ("C0", "o", 4), FIT: ("C1", "s", 6), HYBRID: ("C2", "^", 4), ESTIMATE: ("C2", "^", 4)}
"""Colors, shapes and sizes: the fits often agree, and the second must not hide the first."""
MISMATCH_LABELS = {
    NETWORK: "network",
    FIT: "fit from zero, which knows no mismatch",
    ESTIMATE: "whole estimate, with [nuisances]",
}
PANEL_COLUMNS, MISMATCH_COLUMNS = 4, 3
TRUE_VALUE_BINS = 8
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


class PlainBetween(LogFormatter):
    """Labels the ticks that matplotlib would, by plain numbers instead of powers of ten."""

    def __init__(self) -> None:
        super().__init__(labelOnlyBase=False)

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def draw_comparison(folder: Path, comparison: Comparison, pixel_nm: tuple[float, float, float], title: str) -> None:
    """Write examples.png, predicted.png, error_vs_strength.png and error_vs_photons.png into ``folder``."""
    draw_examples(folder / "examples.png", comparison, pixel_nm, title)
    draw_predicted(folder / "predicted.png", comparison, title)
    draw_against_strength(folder / "error_vs_strength.png", comparison, title)
    draw_against_photons(folder / "error_vs_photons.png", comparison, title)


def draw_examples(path: Path, comparison: Comparison, pixel_nm: tuple[float, float, float], title: str) -> None:
    """Image, its reconstruction by the first estimator, and their difference, for its best to its worst image."""
    figure = Figure(figsize=(19, 7))
    # Nine panels in a row, a gap after every three, two scales; fixed places, since a layout engine takes seconds.
    widths = [1, 1, 1, 0.05, 1, 1, 1, 0.08, 0.4, 1, 1, 1, 0.08]
    rows = len(comparison.examples)
    grid = figure.add_gridspec(
        rows, len(widths), width_ratios=widths, left=0.035, right=0.965, bottom=0.07, top=0.86, wspace=0.75, hspace=0.55
    )
    result = comparison.results[comparison.first]
    noisy = comparison.noise.photons > 0
    for row, (name, example) in enumerate(comparison.examples.items()):
        model = _in_counts(example)
        spread = np.sqrt(np.clip(model, 1, None)) if noisy else 0.01 * model.max()
        axes = [figure.add_subplot(grid[row, column]) for column in (0, 1, 2, 4, 5, 6, 9, 10, 11)]
        high = float(example.counts.max())
        light = draw_planes(axes[:3], by_name(example.counts), pixel_nm, high=high)
        draw_planes(axes[3:6], by_name(model), pixel_nm, high=high)
        difference = draw_planes(axes[6:], by_name((example.counts - model) / spread), pixel_nm, diverging=True)
        for panel, name_of_panel in zip(axes[::3], ("image", "reconstruction", "difference"), strict=True):
            panel.set_title(name_of_panel, fontsize=9, loc="left")
        scales = (light, 7, "counts" if noisy else "of the crest"), (difference, 12, "sigma" if noisy else "%")
        for image, column, unit in scales:
            bar = figure.colorbar(image, cax=figure.add_subplot(grid[row, column]))
            bar.set_label(unit, fontsize=8)
            bar.ax.tick_params(labelsize=7)
        errors = ", ".join(
            f"{NAMES[quantity]} {_figure(quantity, values.strengths[example.index])}, "
            f"estimated within {_figure(quantity, values.totals[example.index])}"
            for quantity, values in result.quantities.items()
        )
        words = f"{name}: {errors}, r = {result.correlations[example.index]:.3f}"
        axes[0].text(0, 1.25, words, transform=axes[0].transAxes, fontsize=10, weight="bold")
    figure.suptitle(f"{title}: {TITLES[comparison.first]}")
    save(figure, path)


def draw_predicted(path: Path, comparison: Comparison, title: str) -> None:
    """What the first estimator estimates against true values, of each mode and axis; then all rms errors."""
    quantities = comparison.results[comparison.first].quantities
    panels = [(name, column) for name, values in quantities.items() for column in range(len(values.rms))]
    rows = -(-(len(panels) + len(quantities)) // PANEL_COLUMNS)
    height = 3.3 * rows + 0.9
    figure = Figure(figsize=(13, height))
    figure.subplots_adjust(0.05, 0.55 / height, 0.985, 1 - 1.1 / height, wspace=0.3, hspace=0.4)
    axes = figure.subplots(rows, PANEL_COLUMNS, squeeze=False).ravel()
    for panel, (quantity, column) in zip(axes, panels, strict=False):
        _draw_column(panel, quantities[quantity], column, quantity)
        error = _figure(quantity, quantities[quantity].rms[column])
        panel.set_title(f"{comparison.names(quantity)[column]}\nrms error {error}", fontsize=9)
    for panel, quantity in zip(axes[len(panels) :], quantities, strict=False):
        _draw_errors(panel, comparison, quantity)
    for panel in axes[len(panels) + len(quantities) :]:
        panel.set_axis_off()
    figure.suptitle(f"{title}: {TITLES[comparison.first]}\nred: mean and rms error of an eighth of the images")
    save(figure, path)


def draw_against_strength(path: Path, comparison: Comparison, title: str) -> None:
    """Median total error and its 68 % band against the true strength."""
    figure = Figure(figsize=(6.5 * len(comparison.asked), 4.8), layout="constrained")
    panels = figure.subplots(1, len(comparison.asked), squeeze=False)[0]
    for axes, quantity in zip(panels, comparison.asked, strict=True):
        unit, factor = UNITS[quantity]
        for name, line in comparison.against_strength(quantity).items():
            at, low, median, high = (factor * np.array(line[key]) for key in ("strength", "low", "median", "high"))
            (drawn,) = axes.plot(at, median, **_style(name))
            axes.fill_between(at, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)
        axes.set_xlabel(f"true {NAMES[quantity]}{', rms' if quantity == WAVEFRONT else ''} ({unit})")
        _finish(axes, quantity, f"{NAMES[quantity]}: median and 68 % band")
    figure.suptitle(title)
    save(figure, path)


def draw_against_photons(path: Path, comparison: Comparison, title: str) -> None:
    """Median total error of the same images at other photon numbers."""
    figure = Figure(figsize=(6.5 * len(comparison.asked), 4.8), layout="constrained")
    panels = figure.subplots(1, len(comparison.asked), squeeze=False)[0]
    for axes, quantity in zip(panels, comparison.asked, strict=True):
        for name, medians in comparison.photons[quantity].items():
            axes.plot(SWEEP_PHOTONS, UNITS[quantity][1] * np.array(medians), **_style(name))
        axes.set_xscale("log")
        axes.set_xticks(SWEEP_PHOTONS, [f"{value:g}" for value in SWEEP_PHOTONS])
        axes.minorticks_off()
        if comparison.noise.photons:
            axes.axvline(comparison.noise.photons, color="gray", linewidth=0.8, linestyle=":")
        axes.set_xlabel("photons at the unaberrated crest")
        _finish(axes, quantity, f"{NAMES[quantity]}: median")
    figure.suptitle(title)
    save(figure, path)


def draw_mismatch(path: Path, comparison: MismatchComparison, title: str) -> None:
    """Median total error of the same wavefronts, a panel for each thing that the setup does not tell."""
    rows = -(-len(comparison.curves) // MISMATCH_COLUMNS)
    figure = Figure(figsize=(4.4 * MISMATCH_COLUMNS, 3.6 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, MISMATCH_COLUMNS, sharey=True, squeeze=False)
    for axes in panels.ravel()[len(comparison.curves) :]:
        axes.set_axis_off()
    for axes, (name, curve) in zip(panels.ravel(), comparison.curves.items(), strict=False):
        for estimator, medians in curve.medians.items():
            style = _style(estimator) | {"label": MISMATCH_LABELS[estimator]}
            axes.plot(curve.levels, 1e3 * np.array(medians), **style)
        axes.axhline(1e3 * comparison.bound, **_style(BOUND) | {"label": "bound without mismatch"})
        axes.axvline(curve.nominal, color="gray", linewidth=0.8, linestyle=":")
        axes.set_xlabel(curve.axis)
        _finish(axes, WAVEFRONT, f"wavefront against {name}: median")
        axes.get_legend().remove()
    for axes in panels[:, 1:].ravel():
        axes.set_ylabel("")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    figure.suptitle(title)
    save(figure, path)


def _in_counts(example: Example) -> Floats:
    """The reconstruction with each section scaled to the counts, background included (least squares)."""
    shape, data = (values.reshape(3, -1) for values in (example.reconstruction, example.counts))
    scaled = []
    for section, counts in zip(shape, data, strict=True):
        basis = np.stack([section, np.ones_like(section)], axis=1)
        scaled.append(basis @ np.linalg.lstsq(basis, counts, rcond=None)[0])
    return np.reshape(scaled, example.counts.shape)


def _draw_column(axes: Axes, values: QuantityErrors, column: int, quantity: str) -> None:
    unit, factor = UNITS[quantity]
    true, estimated = factor * values.true[:, column], factor * values.estimated[:, column]
    axes.plot(true, estimated, ".", markersize=2, alpha=0.35, color="C0")
    limit = 1.05 * float(max(np.abs(true).max(), np.abs(estimated).max(), 1e-9))
    axes.plot([-limit, limit], [-limit, limit], color="black", linewidth=0.6)
    groups = [group for group in np.array_split(np.argsort(true, kind="stable"), TRUE_VALUE_BINS) if len(group)]
    axes.errorbar(
        [true[group].mean() for group in groups],
        [estimated[group].mean() for group in groups],
        yerr=[np.sqrt(np.square(estimated[group] - true[group]).mean()) for group in groups],
        fmt="o",
        color="C3",
        markersize=3.5,
        capsize=2,
        linewidth=1,
    )
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    axes.set_aspect("equal")
    axes.set_xlabel(f"true ({unit})", fontsize=8)
    axes.set_ylabel(f"estimated ({unit})", fontsize=8)
    axes.tick_params(labelsize=7)


def _draw_errors(axes: Axes, comparison: Comparison, quantity: str) -> None:
    """The rms error of each mode or axis: network, fits (where they succeeded), and the bound."""
    unit, factor = UNITS[quantity]
    modes = comparison.outputs.modes
    names = ["x", "y"] if quantity == MASK_OFFSET or modes is None else [f"{mode.n},{mode.m}" for mode in modes]
    for name, result in comparison.results.items():
        values = result.quantities[quantity]
        of_successes = name != NETWORK and quantity == WAVEFRONT
        axes.plot(names, factor * (values.rms_within(MISSED_WAVES) if of_successes else values.rms), **_style(name))
    for name, bounds in comparison.bounds.items():
        axes.plot(names, factor * bounds[quantity].median, **_style(name))
    axes.set_yscale("log")
    _plain_numbers(axes)
    axes.set_title(f"rms error ({unit})", fontsize=9)
    axes.tick_params(labelsize=7)
    if quantity == WAVEFRONT:
        axes.tick_params(axis="x", rotation=60)
    low, high = axes.get_ylim()
    # A decade on top for the legend.
    axes.set_ylim(low, 10 * high)
    axes.legend(fontsize=7, loc="upper right")
    axes.grid(alpha=0.3)


def _finish(axes: Axes, quantity: str, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_yscale("log")
    _plain_numbers(axes)
    axes.set_ylabel(f"total error ({UNITS[quantity][0]})")
    axes.grid(which="both", alpha=0.25)
    axes.legend(fontsize=8)


def _plain_numbers(axes: Axes) -> None:
    """Along the logarithmic y axis, between decades only where there are few of them."""
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(PlainBetween())
    axes.tick_params(axis="y", which="minor", labelsize=7)


def _style(name: str) -> dict[str, Any]:
    """Color, line and label of an estimator or a bound."""
    if name in MARKERS:
        color, marker, size = MARKERS[name]
        return {"color": color, "label": TITLES.get(name, name), "marker": marker, "markersize": size}
    return {"color": "black", "label": name, "linestyle": "--" if name == BOUND else ":"}


def _figure(quantity: str, value: float) -> str:
    unit, factor = UNITS[quantity]
    return f"{factor * value:.{1 if quantity == WAVEFRONT else 4}f} {unit}"
