"""What a training set holds, and the drawing of its wavefronts and nuisances."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stedalign.errors import InputError
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.wavefront import ModeSet
from stedalign.ranges import MOST_IMAGES
from stedalign.spec import Seed, Spec

Floats = NDArray[np.float64]
SPLITS = ("train", "val", "test")
FARTHEST_MOVE = 1 / 8
"""Largest standard deviation of an image's place, in fields. The optics are planned for an image in the middle: up to
three times as far they stay within their tolerance, a whole half-field away errors grow to a few percent, and beyond
that there are ghosts of the bead (measured with the tightest plans, of weak wavefronts)."""
_WAVEFRONT_STREAM, _SHIFT_STREAM, _MASK_OFFSET_STREAM = 0, 1, 2


class DatasetSpec(Spec):
    """How many images of which wavefronts; the optics come apart from it, as a ``ForwardSpec``."""

    samples: int = Field(default=20_000, ge=3, le=MOST_IMAGES)
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Fractions for training, validation and test."""
    distribution: Literal["normal", "uniform"] = "uniform"
    range_peak_waves: float = Field(default=0.3, ge=0, le=5)
    """Half-range (uniform) or standard deviation (normal) of each coefficient, in peak waves; 0 = no aberrations."""
    modes: tuple[tuple[int, int], ...] = tuple((mode.n, mode.m) for mode in ModeSet.default())
    """The modes as (n, m) pairs."""
    centered: bool = True
    """Move each image until its center of mass lies in the middle, as the stage does at the microscope."""
    shift_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Standard deviation of a random shift of the image along x, y, z that stays after centering."""
    mask_offset: float = Field(default=0.0, ge=0, le=0.35)
    """Half-range of the mask's distance, along x and along y, from where the setup has it: uniform, in pupil radii."""
    seed: Seed = 0

    def model_post_init(self, context: Any, /) -> None:
        ModeSet.of(self.modes)
        if not (abs(sum(self.split) - 1) <= 1e-9 and min(self.split) > 0):
            raise InputError(f"split {self.split} must be three positive fractions that add up to 1")
        if min(self.counts) < 1:
            raise InputError(f"{self.samples} samples leave a part of the split {self.split} empty")
        if not all(0 <= sigma <= 1000 for sigma in self.shift_nm):
            raise InputError(f"shift_nm {self.shift_nm} must lie between 0 and 1000 nm")

    @property
    def mode_set(self) -> ModeSet:
        return ModeSet.of(self.modes)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Samples for training, validation and test; what rounding leaves goes to training."""
        val, test = (round(self.samples * fraction) for fraction in self.split[1:])
        return self.samples - val - test, val, test

    @property
    def hash(self) -> str:
        """A fingerprint of every value above."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Draw:
    """The parameters of every sample of one dataset."""

    modes: ModeSet
    waves: Floats
    """Coefficients in rms waves, shape (samples, modes)."""
    shift_nm: Floats
    """Shift that stays after centering, along x, y, z: shape (samples, 3)."""
    mask_shift: Floats
    """How far the mask lies from where the setup has it, along x and y, in pupil radii: shape (samples, 2)."""

    @property
    def peak_waves(self) -> Floats:
        """The labels: coefficients of the un-normalized polynomials, shape (samples, modes)."""
        return self.waves * self.modes.norms

    def mask_offset(self, beam: Beam) -> Floats:
        """Where the mask lies on the pupil, the other labels: (samples, 2) along x and y, in pupil radii."""
        return self.mask_shift + beam.pattern.core


def draw(spec: DatasetSpec) -> Draw:
    """Draw all parameters of a dataset at once, from its seed alone.

    Row i does not depend on how many rows are drawn or in which batches they are simulated; wavefronts, shifts and
    mask offsets come from separate streams, so that switching one on leaves the others as they were.
    """
    modes = spec.mode_set
    generator = np.random.default_rng([spec.seed, _WAVEFRONT_STREAM])
    size = spec.samples, len(modes)
    if spec.distribution == "normal":
        peak_waves = generator.normal(scale=spec.range_peak_waves, size=size)
    else:
        peak_waves = generator.uniform(-spec.range_peak_waves, spec.range_peak_waves, size=size)
    shifts = np.random.default_rng([spec.seed, _SHIFT_STREAM]).normal(size=(spec.samples, 3))
    offsets = np.random.default_rng([spec.seed, _MASK_OFFSET_STREAM]).uniform(-1, 1, size=(spec.samples, 2))
    return Draw(modes, peak_waves / modes.norms, shifts * spec.shift_nm, offsets * spec.mask_offset)


def check_moves(sigma_nm: Sequence[float], sampling: Sampling, keys: str) -> None:
    """Raise ``InputError`` with one line where images leave the field that the optics are planned for.

    ``sigma_nm`` are the standard deviations (3,) of their place along x, y, z, which ``keys`` of the specification set.
    """
    for axis, sigma, pixel in zip("xyz", sigma_nm, sampling.pixel_nm, strict=True):
        limit = FARTHEST_MOVE * sampling.samples * pixel
        if sigma > limit:
            raise InputError(
                f"{keys}: a standard deviation of {sigma:.4g} nm along {axis} takes images out of their field; "
                f"it must not exceed {limit:.4g} nm, an eighth of the field"
            )
