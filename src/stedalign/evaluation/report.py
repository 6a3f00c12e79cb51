"""Pictures: what one would rather look at than read. Only this file and ``open_loop_report`` draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stedalign.alignment.loop import Measured
from stedalign.estimation.estimate import Estimate
from stedalign.files import replacing
from stedalign.imaging.sections import PLANES, OrthoSections

Floats = NDArray[np.float64]
COLORS = "inferno"


def draw_alignment(path: Path, before: Measured, after: Measured, title: str) -> None:
    """The sections before and after, each row on its own scale, the wavefronts and the final mask."""
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    rows = figure.subplots(2, 5, width_ratios=[1, 1, 1, 1.15, 1.5])
    for row, name, measured in zip(rows, ("before", "after"), (before, after), strict=True):
        _draw_sections(row[:3], measured.sections)
        row[0].set_title(
            f"{name}   null {measured.estimate.null_ratio:.2%}, r = {measured.correlation:.3f}", loc="left"
        )
        row[3].imshow(measured.levels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        row[3].set_title("mask on the SLM", fontsize=9)
        row[3].set_axis_off()
        _draw_coefficients(row[4], measured.estimate)
    limit = max(abs(value) for axes in rows[:, 4] for value in axes.get_ylim())
    for axes in rows[:, 4]:
        axes.set_ylim(-limit, limit)
    figure.suptitle(title)
    save(figure, path)


def draw_estimate(path: Path, sections: OrthoSections, estimate: Estimate, title: str) -> None:
    """Picture, fitted model and their difference in standard deviations; the coefficients with error bars."""
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    grid = figure.add_gridspec(3, 4, width_ratios=[1, 1, 1, 1.7])
    model = estimate.reconstruction
    difference = (sections.data - model) / np.sqrt(np.clip(model, 1, None))
    rows = ("picture", sections.data), ("model", model), ("difference / sigma", difference)
    for row, (name, planes) in enumerate(rows):
        axes = [figure.add_subplot(grid[row, column]) for column in range(3)]
        image = draw_planes(axes, planes, sections.pixel_nm, diverging=row == 2)
        axes[0].set_title(name, loc="left")
        figure.colorbar(image, ax=axes, shrink=0.8, pad=0.01)
    _draw_coefficients(figure.add_subplot(grid[:2, 3]), estimate)
    words = figure.add_subplot(grid[2, 3])
    words.set_axis_off()
    verdict = "accepted" if estimate.accepted else f"REFUSED: {estimate.reason}"
    lines = (
        f"{estimate.rms_waves * 1e3:.1f} ± {estimate.rms_sigma_waves * 1e3:.1f} mλ rms",
        f"null ratio {estimate.null_ratio:.2%}, crest uniformity {estimate.crest_uniformity:.2f}",
        f"reduced chi2 {estimate.reduced_chi2:.3f}",
        f"shift {', '.join(f'{value:.0f}' for value in estimate.shift_nm)} nm (x, y, z)",
        verdict,
    )
    words.text(0, 1, "\n".join(lines), va="top", fontsize=11, wrap=True)
    figure.suptitle(title)
    save(figure, path)


def _draw_sections(row: NDArray[np.object_], sections: OrthoSections) -> None:
    draw_planes(list(row), sections.data, sections.pixel_nm)


def draw_planes(
    row: list[Axes],
    planes: Floats,
    pixel_nm: tuple[float, float, float],
    *,
    high: float | None = None,
    diverging: bool = False,
) -> AxesImage:
    """The planes (3, N, N) in three axes, on one scale up to ``high`` (their maximum), or from -4 to 4."""
    half = np.array(pixel_nm) * planes.shape[1] / 2e3
    low, high = (-4.0, 4.0) if diverging else (0.0, float(planes.max()) if high is None else high)
    for axes, plane, name in zip(row, planes, PLANES, strict=True):
        across, up = ("xyz".index(letter) for letter in name)
        image = axes.imshow(
            plane,
            cmap="RdBu_r" if diverging else COLORS,
            vmin=low,
            vmax=high,
            origin="lower",
            extent=(-half[across], half[across], -half[up], half[up]),
        )
        axes.set_xlabel(f"{name[0]} (µm)", fontsize=8)
        axes.set_ylabel(f"{name[1]} (µm)", fontsize=8)
        axes.tick_params(labelsize=7)
    return image


def _draw_coefficients(axes: Axes, estimate: Estimate) -> None:
    modes = estimate.wavefront.modes
    positions = range(len(modes))
    axes.bar(positions, 1e3 * estimate.wavefront.array, yerr=2e3 * np.array(estimate.sigma_waves), capsize=2)
    axes.set_xticks(positions, [f"{mode.n},{mode.m}" for mode in modes], rotation=60, fontsize=7)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("coefficient ± 2 sigma (mλ)", fontsize=8)
    axes.set_title(f"estimated wavefront: {estimate.rms_waves * 1e3:.1f} mλ rms", fontsize=9)


def save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
