"""Whether an image can be estimated, and whether an estimate can be trusted; if not, why, in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from stedalign.errors import InputError
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.fit import FitResult
from stedalign.imaging.images import VOLUME, Image, View
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.zernike import Mode
from stedalign.spec import Spec

Floats = NDArray[np.float64]
FARTHEST_BEAD, FARTHEST_CENTER_OF_MASS = 0.75, 0.46
"""How far from the middle a bead may lie, and the center of mass of its donut, over half of the image's width.

Over 2 um the center of mass lies within 0.41 up to 300 mλ, and beyond 0.52 where the donut's middle is near an edge."""
LARGEST_EXCESS = 4.0
"""Standard deviations of chi-squared that chance explains."""
BLOCK_PIXELS = 4
"""Pixels along each axis whose mean tells a focus from noise."""


class ImageError(InputError):
    """An image that no estimate can be made from, with the reason and what to do about it."""


class Limits(Spec):
    """When an estimate is trusted."""

    min_reduced_chi2: float = Field(0.7, ge=0, lt=1)
    """Below this the numbers are no photon counts, and the error bars would be wrong."""
    max_reduced_chi2: float = Field(1.15, gt=1)
    """Above this, and what noise explains, the model does not explain the image."""
    max_rms_waves: float = Field(0.5, gt=0)
    """Above this the wavefront is beyond what the model and the search were measured for, and the estimate refused."""
    max_sigma_waves: float = Field(0.03, gt=0)
    """Above this the image is too dim to tell the wavefront."""
    search_generations: int = Field(48, ge=0)
    """How long an image is searched that no fit explains yet: of sixteen rough fits each, some tenths of a second."""


def check_image(image: Image, saturation: float | None = None, read_noise: float = 0.0) -> None:
    """Raise ``ImageError`` where the image is clipped, empty or no raw image.

    Clipped: at the known saturation level, or, whatever the level, 0.3 % of all pixels sharing the maximum. Empty:
    the means of blocks of 4 pixels along each axis scatter no more than the noise of single pixels, read off
    neighboring differences, allows; that needs no gain.
    """
    data, view = image.counts, image.view
    levels = [level for level in (image.saturation, saturation) if level is not None]
    level = min(levels, default=None)
    if data.max() == data.min():
        raise ImageError("the image is empty: every pixel has the same value")
    if data.min() < -8 * read_noise:
        raise ImageError(f"counts below zero ({data.min():g}): give the raw image, without background subtracted")
    clipped = int((data >= level).sum()) if level is not None else 0
    if clipped:
        raise ImageError(f"the image is saturated: {clipped} pixels at {level:g} counts; lower the laser power or gain")
    if shared := _at_a_ceiling(data):
        raise ImageError(
            f"the image looks saturated: {shared} pixels share the highest value, {data.max():g}; "
            "lower the laser power or gain"
        )
    for name, part in zip(view.parts, data, strict=True):
        noise = np.square(np.diff(part, axis=-1)).mean() / 2
        if _blocks(part).var() * BLOCK_PIXELS**part.ndim < 2 * noise:
            what = "volume" if name == VOLUME else f"{name} section"
            raise ImageError(f"the {what} is empty: no focus stands out of its noise; find the bead first")


def cut_off(image: Image, place_nm: Sequence[float] | None = None) -> str:
    """Which end of the image cuts the bead off, in words; empty if none does.

    It lies at ``place_nm`` (x, y, z) from the middle, or where the center of mass does while nothing better is known.
    """
    view, limit = image.view, FARTHEST_CENTER_OF_MASS if place_nm is None else FARTHEST_BEAD
    for axis, place, pixel in zip("xyz", place_nm or displacement_nm(image), image.pixel_nm, strict=True):
        if axis in view.axes and abs(place) > limit * pixel * view.samples(axis) / 2:
            side = "+" if place > 0 else "-"
            return f"the bead is cut off at the {side}{axis} edge of the image: move it to the middle"
    return ""


def refusal(
    layout: ParameterLayout,
    found: FitResult,
    blind: Collection[Mode],
    view: View,
    limits: Limits,
    shows_two_beads: Callable[[], bool],
) -> str:
    """Why an estimate is not to be trusted; empty if it is.

    ``shows_two_beads`` is asked only where one bead does not explain the image, since it takes long.
    """
    modes, chi2 = layout.mode_set, float(found.reduced_chi2)
    if chi2 > limits.max_reduced_chi2 and (chi2 - 1) / float(found.chi2_sigma) > LARGEST_EXCESS:
        if shows_two_beads():
            return "there are two beads in the image: find a bead that is alone"
        return (
            f"this does not look like this setup's focus (reduced chi2 {chi2:.2f}, at most "
            f"{limits.max_reduced_chi2:g}): check pixel size, pattern, handedness, and that counts are photons"
        )
    if not found.converged:
        return "the fit did not converge"
    if not found.determined:
        return "the image does not tell all modes and shifts apart: leave a mode out"
    if chi2 < limits.min_reduced_chi2:
        return (
            f"the noise is too small for photon counts (reduced chi2 {chi2:.2f}, at least "
            f"{limits.min_reduced_chi2:g}): give the image in photons, without averaging or scaling"
        )
    rms = float(found.parameters[0, layout.modes].norm())
    if rms > limits.max_rms_waves:
        return f"the aberration is beyond range: {rms:.3f} waves rms, {limits.max_rms_waves:g} can be trusted"
    # One plane is blind to some modes at any light; what it does tell is then judged by itself.
    judged = ["z" in view.axes or mode not in blind for mode in modes]
    if not any(judged):
        return "one xy section does not tell these modes: image xz and yz, too"
    variance = found.covariance[0].diagonal()[layout.modes].clamp_min(0)
    sigma = float(variance[torch.tensor(judged)].sum().sqrt())
    if sigma > limits.max_sigma_waves:
        return (
            f"the image is too dim: the wavefront is uncertain by {1e3 * sigma:.0f} mλ, at most "
            f"{1e3 * limits.max_sigma_waves:g} can be trusted; image longer or with more light"
        )
    return ""


def _blocks(part: Floats) -> Floats:
    """Means of blocks of ``BLOCK_PIXELS`` pixels along each axis."""
    for axis, count in enumerate(part.shape):
        whole = part.take(range(count // BLOCK_PIXELS * BLOCK_PIXELS), axis)
        part = whole.reshape(*part.shape[:axis], -1, BLOCK_PIXELS, *part.shape[axis + 1 :]).mean(axis + 1)
    return part


def _at_a_ceiling(data: Floats) -> int:
    """How many pixels share the highest value, where that is more than the values just below let expect; else 0."""
    highest = data.max()
    shared = int((data == highest).sum())
    below = int(((data < highest) & (data >= 0.8 * highest)).sum())
    if (data == np.rint(data)).all():
        expected = below / max(1.0, 0.2 * highest)
        most = 5 + 4 * expected + 4 * np.sqrt(expected)
    else:
        # Images without noise share their highest value with a few mirror images of it.
        most = max(24, 0.003 * data.size)
    crowded = shared > most and highest > 2 * np.median(data)
    return shared if crowded else 0
