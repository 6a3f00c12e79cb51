"""Drawings of an estimate and of an alignment, and of the planes of any image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stedalign.alignment.events import Measured
from stedalign.estimation.diagnosis import Remark
from stedalign.estimation.estimate import ACCEPTED, REFUSED, WITH_MODEL_ERROR, Estimate
from stedalign.files import replacing
from stedalign.imaging.bead_in_volume import volume_planes
from stedalign.imaging.images import PLANES, Image, Sections, Volume

Floats = NDArray[np.float64]
COLORS = "inferno"
VERDICT_COLORS = {ACCEPTED: "palegreen", WITH_MODEL_ERROR: "khaki", REFUSED: "lightsalmon"}
VERDICT_WIDTH, REMARK_WIDTH = 48, 66
"""Letters in a line of the verdict, and of a remark."""
SHOWN_REMARKS = 3


def draw_alignment(path: Path, before: Measured, after: Measured, title: str) -> None:
    """The sections before and after, each row on its own scale, the wavefronts and the final mask."""
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    rows = figure.subplots(2, 5, width_ratios=[1, 1, 1, 1.15, 1.5])
    for row, name, measured in zip(rows, ("before", "after"), (before, after), strict=True):
        low = float(measured.estimate.reconstruction.min())
        draw_planes(list(row[:3]), by_name(measured.sections.data), measured.sections.pixel_nm, low=low)
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


def draw_estimate(path: Path, image: Image, estimate: Estimate, title: str, remarks: Sequence[Remark] = ()) -> None:
    """Image, fitted model and their difference in standard deviations of the noise; the coefficients with error bars.

    Of the ``remarks`` on what else is off the first few.

    Of a volume its planes through the focus, of other images the sections that were imaged.
    """
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    model = estimate.reconstruction
    difference = (image.counts - model) / estimate.noise_counts
    low, high = float(model.min()), float(model.max())
    rows = ("image", image.counts), ("model", model), ("difference / sigma", difference)
    columns = len(_planes(image, model, estimate.shift_nm))
    grid = figure.add_gridspec(3, columns + 1, width_ratios=[*[1.0] * columns, 1.7])
    for row, (name, counts) in enumerate(rows):
        axes = [figure.add_subplot(grid[row, column]) for column in range(columns)]
        planes = _planes(image, counts, estimate.shift_nm)
        drawn = draw_planes(
            axes, planes, image.pixel_nm, low=low, high=high, diverging=row == 2, pixels=_own_pixels(image)
        )
        axes[0].set_title(name, loc="left")
        figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.01)
    _draw_coefficients(figure.add_subplot(grid[:2, columns]), estimate)
    words = figure.add_subplot(grid[2, columns])
    words.set_axis_off()
    lines = (
        f"{estimate.rms_waves * 1e3:.1f} ± {estimate.rms_sigma_waves * 1e3:.1f} mλ rms",
        f"null ratio {estimate.null_ratio:.2%}, crest uniformity {estimate.crest_uniformity:.2f}".replace("nan%", "-"),
        f"reduced chi2 {estimate.reduced_chi2:.3f}",
        f"unexplained {estimate.unexplained:.2%}, model error {estimate.model_error:.1%} of the crest",
        f"shift {', '.join(f'{value:.0f}' for value in estimate.shift_nm)} nm (x, y, z)",
    )
    words.text(0, 1, "\n".join(lines), va="top", fontsize=11)
    verdict = estimate.grade if estimate.accepted else f"REFUSED: {estimate.reason}"
    box = {"facecolor": VERDICT_COLORS[estimate.grade], "edgecolor": "none", "pad": 4}
    words.text(0, 0.34, fill(verdict, VERDICT_WIDTH), va="top", fontsize=11, bbox=box)
    off = "\n".join(fill(remark.words, REMARK_WIDTH) for remark in remarks[:SHOWN_REMARKS])
    words.text(0, 0.18, off, va="top", fontsize=7)
    figure.suptitle(title)
    save(figure, path)


def _planes(image: Image, counts: Floats, place_nm: tuple[float, float, float]) -> dict[str, Floats]:
    """The planes of ``counts`` (parts, ...) that are drawn, by name."""
    if isinstance(image, Sections):
        return {name: part[image.imaged(name)] for name, part in zip(image.parts, counts, strict=True)}
    if not isinstance(image, Volume):
        return dict(zip(image.view.parts, counts, strict=True))
    return volume_planes(counts[0], image.pixel_nm, place_nm)


def _own_pixels(image: Image) -> dict[str, dict[str, float]] | None:
    """The pixel sizes of sections that differ in them."""
    view = image.view
    return {name: view.pixel_of(name) for name in view.parts} if view.part_pixel_nm else None


def by_name(sections: Floats) -> dict[str, Floats]:
    """Three sections (3, N, N) for ``draw_planes``."""
    return dict(zip(PLANES, sections, strict=True))


def draw_planes(
    row: list[Axes],
    planes: Mapping[str, Floats],
    pixel_nm: tuple[float, float, float],
    *,
    low: float = 0.0,
    high: float | None = None,
    diverging: bool = False,
    pixels: Mapping[str, Mapping[str, float]] | None = None,
) -> AxesImage:
    """Planes by name ("xy", "xz", "yz"), on one scale from ``low`` to ``high`` (their maximum), or from -4 to 4.

    ``pixels`` are the sizes of planes whose pixels are their own, by name and axis.
    """
    alike = dict(zip("xyz", pixel_nm, strict=True))
    brightest = max(float(plane.max()) for plane in planes.values())
    low, high = (-4.0, 4.0) if diverging else (low, brightest if high is None else high)
    for axes, (name, plane) in zip(row, planes.items(), strict=True):
        size = alike if pixels is None else pixels[name]
        up, across = (size[axis] * count / 2e3 for axis, count in zip(name[::-1], plane.shape, strict=True))
        image = axes.imshow(
            plane,
            cmap="RdBu_r" if diverging else COLORS,
            vmin=low,
            vmax=high,
            origin="lower",
            extent=(-across, across, -up, up),
        )
        axes.set_xlabel(f"{name[0]} (µm)", fontsize=8)
        axes.set_ylabel(f"{name[1]} (µm)", fontsize=8)
        axes.tick_params(labelsize=7)
    return image


def _draw_coefficients(axes: Axes, estimate: Estimate) -> None:
    modes = estimate.wavefront.modes
    positions = range(len(modes))
    colors = ["lightgray" if mode in estimate.blind else "tab:blue" for mode in modes]
    height, error = 1e3 * estimate.wavefront.array, 2e3 * np.array(estimate.sigma_waves)
    axes.bar(positions, height, yerr=error, capsize=2, color=colors)
    axes.set_xticks(positions, [f"{mode.n},{mode.m}" for mode in modes], rotation=60, fontsize=7)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("coefficient ± 2 sigma (mλ)", fontsize=8)
    blind = ", gray: blind" if estimate.blind else ""
    axes.set_title(f"estimated wavefront: {estimate.rms_waves * 1e3:.1f} mλ rms{blind}", fontsize=9)


def save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
