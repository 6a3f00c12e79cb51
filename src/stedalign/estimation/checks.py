"""Whether an image can be estimated, and whether an estimate can be trusted; if not, why, in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from stedalign.errors import InputError
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.explain import Explanation
from stedalign.estimation.fit import explains
from stedalign.imaging.images import AXES_OF, VOLUME, Image
from stedalign.imaging.nuisances import Nuisances
from stedalign.imaging.photon_transfer import Reading
from stedalign.optics.wavefront import ModeSet
from stedalign.optics.zernike import Mode
from stedalign.spec import Spec, or_infinite

Floats = NDArray[np.float64]
FARTHEST_BEAD, FARTHEST_CENTER_OF_MASS = 0.75, 0.46
"""How far from the middle a bead may lie, and the center of mass of its donut, over half of the image's width.

Over 2 um the center of mass lies within 0.41 up to 300 mλ, and beyond 0.52 where the donut's middle is near an edge."""
FARTHEST_DRIFT = 6.0
"""How far a section may lie beside the mean of the others, in standard deviations of the drift of each."""
LARGEST_COUNT = 1e15
BLOCK_PIXELS = 4
"""Pixels along each axis whose mean tells a focus from noise."""


class ImageError(InputError):
    """An image that no estimate can be made from, with the reason and what to do about it."""


class Limits(Spec):
    """When an estimate is trusted."""

    min_reduced_chi2: float = Field(0.7, ge=0, lt=1)
    """Below this the noise is smaller than that of a detector of which nothing is to be measured."""
    max_reduced_chi2: Annotated[float, Field(gt=1), or_infinite(1e6)] = 1.15
    """Up to this, or within chance, noise may be all that is left; above it there is model error."""
    max_unexplained: float = Field(0.02, gt=0, le=1)
    """Share of what the image shows, in squares, that may stay unexplained: with more it is another focus."""
    max_rms_waves: Annotated[float, Field(gt=0), or_infinite(100.0)] = 0.5
    """Above this the wavefront is beyond what the model and the search were measured for, and the estimate refused."""
    max_sigma_waves: Annotated[float, Field(gt=0), or_infinite(100.0)] = 0.03
    """Above this the image is too dim to tell the wavefront."""
    search_generations: int = Field(48, ge=0, le=10_000)
    """How long an image is searched that nothing explains yet: of sixteen rough fits each, some tenths of a second."""


def check_image(image: Image, saturation: float | None = None) -> None:
    """Raise ``ImageError`` where the image is clipped or empty.

    Clipped: at the known saturation level, or, whatever the level, 0.3 % of all pixels sharing the maximum. Empty:
    the means of blocks of 4 pixels along each axis scatter no more than the noise of single pixels, read off
    neighboring differences, allows; that needs no gain.
    """
    data, view = image.counts, image.view
    if np.abs(data).max() > LARGEST_COUNT:
        raise ImageError(f"values up to {np.abs(data).max():g} are no counts of a detector: give the image as recorded")
    levels = [level for level in (image.saturation, saturation) if level is not None]
    level = min(levels, default=None)
    if data.max() == data.min():
        raise ImageError("the image is empty: every pixel has the same value")
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
        if _blocks(part).var() * BLOCK_PIXELS**part.ndim <= 2 * noise:
            what = "volume" if name == VOLUME else f"{name} section"
            raise ImageError(f"the {what} is empty: no focus stands out of its noise; find the bead first")


def cut_off(image: Image, place_nm: Sequence[float] | None = None) -> str:
    """Which end of the image cuts the bead off, in words; empty if none does.

    It lies at ``place_nm`` (x, y, z) from the middle, or where the center of mass does while nothing better is known.
    """
    view, limit = image.view, FARTHEST_CENTER_OF_MASS if place_nm is None else FARTHEST_BEAD
    for axis, place in zip("xyz", place_nm or displacement_nm(image), strict=True):
        if axis in view.axes and abs(place) > limit * view.half_width_nm(axis):
            side = "+" if place > 0 else "-"
            return f"the bead is cut off at the {side}{axis} edge of the image: move it to the middle"
    return ""


def refusal(
    explanation: Explanation,
    modes: ModeSet,
    blind: Collection[Mode],
    nuisances: Nuisances,
    reading: Reading,
    limits: Limits,
) -> str:
    """Why an estimate of these ``modes`` is not to be trusted; empty if it is."""
    solution, misfit, view = explanation.solution, explanation.misfit, explanation.model.view
    chi2 = misfit.reduced_chi2
    if misfit.share > limits.max_unexplained and not explains(solution, limits.max_reduced_chi2):
        return (
            f"this does not look like this setup's focus: {misfit.share:.1%} of what the image shows is unexplained, "
            f"at most {limits.max_unexplained:.1%} may be: check pixel size, pattern and handedness"
        )
    if not solution.converged:
        return "the fit did not converge"
    if not solution.determined:
        return "the image does not tell all modes and shifts apart: leave a mode out"
    if not reading.measured and chi2 < limits.min_reduced_chi2:
        return (
            f"the noise is smaller than this detector's (reduced chi2 {chi2:.2f}, at least "
            f'{limits.min_reduced_chi2:g}): let gain and read_noise be "measure"'
        )
    if beside := _beside_the_bead(explanation, nuisances):
        return beside
    rms = float(solution.parameters[0, : len(modes)].norm())
    if rms > limits.max_rms_waves:
        return f"the aberration is beyond range: {rms:.3f} waves rms, {limits.max_rms_waves:g} can be trusted"
    # One plane is blind to some modes at any light; what it does tell is then judged by itself.
    judged = torch.tensor(["z" in view.axes or mode not in blind for mode in modes])
    if not judged.any():
        return "one xy section does not tell these modes: image xz and yz, too"
    noise, sigma = (
        float(part.diagonal()[: len(modes)].clamp_min(0)[judged].sum().sqrt())
        for part in (explanation.noise_covariance, explanation.total_covariance)
    )
    most = 1e3 * limits.max_sigma_waves
    if noise > limits.max_sigma_waves:
        return (
            f"the image is too dim: the wavefront is uncertain by {1e3 * noise:.0f} mλ, at most "
            f"{most:g} can be trusted; image longer or with more light"
        )
    if sigma > limits.max_sigma_waves:
        return (
            f"this does not look closely enough like this setup's focus: what is unexplained, {misfit.share:.1%} of "
            f"what the image shows, makes the wavefront uncertain by {1e3 * sigma:.0f} mλ; at most {most:g} is trusted"
        )
    return ""


def _beside_the_bead(explanation: Explanation, nuisances: Nuisances) -> str:
    """Which section lies farther beside the others than the bead drifts, in words; empty if none does."""
    layout, view = explanation.model.layout, explanation.model.view
    if not layout.drifting:
        return ""
    drifts = explanation.solution.parameters[0, layout.drift].reshape(-1, 3)
    # From the mean of the others, which is farther away than that of all.
    apart = (drifts - drifts.mean(dim=0)) * len(drifts) / (len(drifts) - 1)
    part, axis = divmod(int(apart.abs().argmax()), 3)
    far = float(apart[part, axis])
    if abs(far) <= FARTHEST_DRIFT * nuisances.drift_nm:
        return ""
    name = view.parts[part]
    across = "xyz"[axis] not in AXES_OF[name]
    how = "does not pass through the bead's middle" if across else "does not belong to the others"
    return (
        f"the {name} section {how}: the bead lies {abs(far):.0f} nm along {'xyz'[axis]} from where the other sections "
        f"have it; image all of them through one point (drift_nm = {nuisances.drift_nm:g} in [nuisances] allows "
        f"{FARTHEST_DRIFT * nuisances.drift_nm:.0f})"
    )


def _blocks(part: Floats) -> Floats:
    """Means of blocks of ``BLOCK_PIXELS`` pixels along each axis."""
    for axis, count in enumerate(part.shape):
        whole = part.take(range(count // BLOCK_PIXELS * BLOCK_PIXELS), axis)
        part = whole.reshape(*part.shape[:axis], -1, BLOCK_PIXELS, *part.shape[axis + 1 :]).mean(axis + 1)
    return part


def _at_a_ceiling(data: Floats) -> int:
    """How many pixels share the highest value, where that is more than the values just below let expect; else 0."""
    highest, dark = float(data.max()), float(np.median(data))
    shared = int((data == highest).sum())
    below = data[(data < highest) & (data >= dark + 0.8 * (highest - dark))]
    if (data == np.rint(data)).all():
        # Counts of one photon each leave gaps where a photon is several counts.
        expected = len(below) / max(1, len(np.unique(below)))
        most = 5 + 4 * expected + 4 * np.sqrt(expected)
    else:
        # Images without noise share their highest value with a few mirror images of it.
        most = max(24, 0.003 * data.size)
    crowded = shared > most and highest - data.min() > 2 * (dark - data.min())
    return shared if crowded else 0
