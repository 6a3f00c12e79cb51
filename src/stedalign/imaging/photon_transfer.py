"""What an image says of its detector: gain, baseline and read noise, from what lies beyond the optical band limit.

No lens forms detail finer than its band limit, so what an image holds beyond it is noise. Its variance, plotted against
the light, is a line (photon transfer; Janesick 2007, section 5): the slope is the gain, and where it meets zero or the
dark level tell baseline and read noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.linalg import eigh, toeplitz

from stedalign.imaging.detector import MEASURE, Detector, number

Floats = NDArray[np.float64]

LEAST_EIGENVALUE = 1e-4
"""Of the sequences that count as within the band, in share of their energy."""
LEAST_FREEDOM = 200.0
"""Independent numbers beyond the band below which nothing is measured: the detector then counts photons."""
LARGEST_RESIDUAL = 25.0
"""Squared residual, over its expectation, that counts for no more."""
CHANCE = 9.2
"""Chi-squared of two numbers that chance exceeds once in a hundred times."""
FAINTEST_SHARE = 0.01
"""Of the mean square that the expected one of any pixel is taken to have at least, lest few faint pixels decide."""
SHOT_SHARE = 0.01
"""Of the variance at the crest that photons are taken to have at least: with fewer the counts' unit says nothing."""
FINEST_SHARE = 5e-4
"""Of the crest: noise that is always assumed, for neither model nor image is better than this."""
DARK_QUANTILE = 0.1
"""Share of the pixels that are taken for dark."""
ROUNDS = 12


@dataclass(frozen=True)
class Reading:
    """How the counts of one image become photons."""

    gain: float
    """Counts for each photon."""
    baseline: float
    """Counts of a pixel without photons."""
    read_noise: float
    """Standard deviation of the electronics' noise, in counts."""
    measured: tuple[str, ...]
    """Which of them the image itself told."""

    def photons(self, counts: Float[Floats, "*shape"]) -> Float[Floats, "*shape"]:
        """Counts of any shape in photons."""
        return (counts - self.baseline) / self.gain

    def counts(self, photons: Float[Floats, "*shape"]) -> Float[Floats, "*shape"]:
        """The other way."""
        return photons * self.gain + self.baseline

    @property
    def extra(self) -> float:
        """Variance beside that of the photons, in photons squared."""
        return (self.read_noise / self.gain) ** 2

    def to_json(self) -> dict[str, Any]:
        return {
            "gain": self.gain,
            "baseline": self.baseline,
            "read_noise": self.read_noise,
            "measured": list(self.measured),
        }


class Band:
    """What an image of these sides shows within the optical band limit, and beyond it."""

    def __init__(self, shape: Sequence[int], limits: Sequence[float]) -> None:
        """``limits`` are the highest frequencies along each side, in rad per pixel."""
        self.bases = [band_sequences(count, float(limit)) for count, limit in zip(shape, limits, strict=True)]
        """Orthonormal sequences (count, k) along each side."""

    def within(self, data: Float[Floats, "*shape"]) -> Float[Floats, "*shape"]:
        """The part of ``data`` within the band."""
        return _along_sides(data, [basis @ basis.T for basis in self.bases])

    def noise_beyond(self, variance: Float[Floats, "*shape"]) -> Float[Floats, "*shape"]:
        """The expected square of what noise of this ``variance`` leaves beyond the band, pixel by pixel."""
        projections = [basis @ basis.T for basis in self.bases]
        kept = np.ones(())
        for projection in projections:
            kept = np.multiply.outer(kept, projection.diagonal())
        squared = _along_sides(variance, [projection**2 for projection in projections])
        return np.asarray(variance * (1 - 2 * kept) + squared)


@lru_cache(maxsize=64)
def band_sequences(count: int, limit: float) -> Float[Floats, "{count} rank"]:
    """Orthonormal sequences (count, k) that hold all signals below ``limit`` rad per pixel (Slepian 1978).

    Those of the discrete prolate spheroidal sequences whose energy lies within the band, and a little beyond.
    """
    distance = np.arange(count)
    kernel = limit / np.pi * np.sinc(limit / np.pi * distance)
    values, vectors = eigh(toeplitz(kernel))
    return np.ascontiguousarray(vectors[:, values > LEAST_EIGENVALUE])


def read_detector(
    parts: Sequence[Float[Floats, "*shape"]],
    weights: Sequence[Float[Floats, "*shape"]],
    bands: Sequence[Band],
    detector: Detector,
) -> Reading:
    """How the counts of an image's ``parts`` become photons: as the ``detector`` says, or as they themselves do.

    Pixels whose weight is 0 must have been filled by what lies around them; they say nothing of the noise. An image
    that is as likely one of counted photons is taken for such. Where nothing lies beyond the band, as with pixels as
    wide as the finest detail, what is to be measured is that of a counter of photons.
    """
    asked = tuple(name for name in ("baseline", "gain", "read_noise") if getattr(detector, name) == MEASURE)
    known = Reading(number(detector.gain, 1.0), number(detector.baseline, 0.0), number(detector.read_noise, 0.0), ())
    squares, flat, light = (np.concatenate(part) for part in zip(*map(_moments, parts, weights, bands), strict=True))
    if not asked or flat.sum() < LEAST_FREEDOM or not squares.any():
        return _with_least_noise(known, parts)
    dark, slope, information = _line(squares, flat, light, detector)
    if len(asked) == 3:
        away = np.array([dark, slope - 1.0])
        if away @ information @ away < CHANCE:
            return _with_least_noise(Reading(1.0, 0.0, 0.0, asked), parts)
    crest = max(float(np.ptp(part)) for part in parts)
    if detector.gain == MEASURE:
        slope = max(slope, SHOT_SHARE * max(dark, 0.0) / max(crest, 1e-300), 1e-9 * crest, 1e-300)
    if detector.baseline != MEASURE:
        baseline = float(detector.baseline)
        noise = number(detector.read_noise, float(np.sqrt(max(0.0, dark + slope * baseline))))
    elif detector.read_noise != MEASURE:
        noise = float(detector.read_noise)
        baseline = (noise**2 - dark) / slope
    else:
        # What is constant is noise of the electronics where it is more than none, and else a baseline; no light is
        # negative, so that a baseline below zero must be one.
        darkest = min(float(np.quantile(part, DARK_QUANTILE)) for part in parts)
        baseline = -dark / slope if dark < 0 else min(0.0, darkest)
        noise = float(np.sqrt(max(0.0, dark + slope * baseline)))
    return _with_least_noise(Reading(slope, baseline, noise, asked), parts)


def _with_least_noise(reading: Reading, parts: Sequence[Floats]) -> Reading:
    crest = max(float(np.ptp(part)) for part in parts)
    noise = float(np.hypot(reading.read_noise, FINEST_SHARE * crest))
    return Reading(reading.gain, reading.baseline, noise, reading.measured)


def _moments(part: Floats, weight: Floats, band: Band) -> tuple[Floats, Floats, Floats]:
    """Squares of what lies beyond the band, and their expectations for a variance of 1, and for one like the light."""
    # A large constant would leave more beyond the band than the noise does.
    level = float(np.median(part))
    within = level + band.within(part - level)
    # A variance cannot fall with the light, which rings below its darkest level.
    lit = np.clip(within, np.quantile(part, 0.01), None)
    believed = weight > 0
    flat, light = band.noise_beyond(weight), band.noise_beyond(weight * lit)
    telling = believed & (flat > 0.05)
    return np.square(part - within)[telling], flat[telling], light[telling]


def _line(squares: Floats, flat: Floats, light: Floats, detector: Detector) -> tuple[float, float, Floats]:
    """Variance without light and its slope, by the likelihood of squares of normal residuals; and the information.

    What the detector's description fixes of the two is kept.
    """
    dark, slope = float(squares.sum() / flat.sum()), 0.0
    known_gain = None if detector.gain == MEASURE else float(detector.gain)
    known_dark = detector.baseline != MEASURE and detector.read_noise != MEASURE
    information = np.zeros((2, 2))
    for _ in range(ROUNDS):
        expected = np.maximum(dark * flat + slope * light, FAINTEST_SHARE * squares.mean())
        capped = np.minimum(squares, LARGEST_RESIDUAL * expected)
        # The residuals outnumber what is independent among them.
        design, weight = np.stack([flat, light]), 0.5 * flat.mean() / expected**2
        information = (design * weight) @ design.T
        pull = (design * weight) @ capped
        if known_dark:
            noise, baseline = float(detector.read_noise) ** 2, float(detector.baseline)
            lifted = light - baseline * flat
            if known_gain is None:
                slope = float((weight * lifted * (capped - noise * flat)).sum() / (weight * lifted**2).sum())
            dark, slope = noise - slope * baseline, max(slope, 0.0)
        elif known_gain is not None:
            slope = known_gain
            dark = float((pull[0] - information[0, 1] * slope) / information[0, 0])
        else:
            dark, slope = (float(value) for value in np.linalg.solve(information, pull))
            if slope < 0:
                dark, slope = float(pull[0] / information[0, 0]), 0.0
    return dark, slope, information


def _along_sides(data: Floats, matrices: Sequence[Floats]) -> Floats:
    for axis, matrix in enumerate(matrices):
        data = np.moveaxis(np.tensordot(matrix, data, axes=(1, axis)), 0, axis)
    return data
