"""What a detector makes of an intensity: all noise there is, of the simulated microscope and of training images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field
from torch import Generator, Tensor

from stedalign.ranges import MOST_BACKGROUND, MOST_PHOTONS, is_number
from stedalign.spec import Spec, or_infinite

Floats = NDArray[np.float64]

MEASURE = "measure"
LARGEST_COUNT = 1e6

UNEVEN_UNIT = 0.001
"""Of the crest: the unit in which the origin counts its uneven background."""


def _above(lowest: float) -> BeforeValidator:
    """Takes "measure", or a number from ``lowest`` to ``LARGEST_COUNT``."""

    def check(value: Any) -> Any:
        if value != MEASURE and not (is_number(value) and lowest <= value <= LARGEST_COUNT):
            raise ValueError(f'"{MEASURE}" or a number from {lowest:g} to {LARGEST_COUNT:g} is expected, got {value!r}')
        return value

    return BeforeValidator(check)


Measurable = float | Literal["measure"]


def number(value: Measurable, otherwise: float) -> float:
    """A number as it is, ``otherwise`` for what is to be measured."""
    return otherwise if value == MEASURE else float(value)


class Bead(Spec):
    """The gold bead that scans the focus."""

    diameter_nm: float = Field(80.0, ge=0, le=500)
    """Diameter; 0 = a point."""


class Detector(Spec):
    """Photon budget and electronics of the detector."""

    photons: float = Field(350.0, gt=0, le=MOST_PHOTONS)
    """Counts that the crest of the unaberrated focus gives, background not counted."""
    background: float = Field(0.02, ge=0, le=MOST_BACKGROUND)
    """Background counts as a fraction of ``photons``."""
    baseline: Annotated[Measurable, _above(-LARGEST_COUNT)] = "measure"
    """Counts of a pixel that no photon reached. A number, or "measure": from the image itself."""
    gain: Annotated[Measurable, _above(1e-6)] = "measure"
    """Counts for each photon, or "measure"."""
    read_noise: Annotated[Measurable, _above(0.0)] = "measure"
    """Standard deviation of the electronics' noise, in counts, or "measure"."""
    saturation: Annotated[float, Field(gt=0), or_infinite(1e15)] = 65535.0
    """Count at which the converter clips."""

    def expected(self, intensity: Float[Floats, "*shape"]) -> Float[Floats, "*shape"]:
        """Expected photons for an intensity relative to the unaberrated crest; any shape."""
        return self.photons * (intensity + self.background)

    def expose(self, expected: Float[Floats, "*shape"], generator: np.random.Generator) -> Float[Floats, "*shape"]:
        """One noisy exposure of ``expected`` photons: whole counts up to ``saturation``, from 0 or a lower baseline.

        What is to be measured is as in a counter of photons: no baseline, no noise of its own, a gain of 1.
        """
        counts = number(self.gain, 1.0) * generator.poisson(expected).astype(float) + number(self.baseline, 0.0)
        if noise := number(self.read_noise, 0.0):
            counts += generator.normal(scale=noise, size=counts.shape)
        return np.clip(np.rint(counts), min(0.0, number(self.baseline, 0.0)), self.saturation)

    @property
    def read_photons(self) -> float:
        """The electronics' noise in photons, 0 where it is to be measured."""
        return number(self.read_noise, 0.0) / number(self.gain, 1.0)


class NoiseSpec(Spec):
    """Noise put on the images anew each time they are loaded."""

    photons: float = Field(default=350.0, ge=0, le=MOST_PHOTONS)
    """Counts at the unaberrated crest; 0 = no photon noise."""
    background_fraction: float = Field(default=0.02, ge=0, le=MOST_BACKGROUND)
    """Constant background, as a fraction of ``photons``."""
    background: float = Field(default=0.0, ge=0, le=1000)
    """Uneven background as the origin counts it: its standard deviation is 0.001 times this, of the crest."""

    @property
    def uneven_fraction(self) -> float:
        """Standard deviation of the uneven background from pixel to pixel, as a fraction of ``photons``."""
        return UNEVEN_UNIT * self.background

    @property
    def uneven_counts(self) -> float:
        """The same in counts: to fit and bound it is read noise."""
        return self.uneven_fraction * self.photons


def add_noise(images: Float[Tensor, "*shape"], noise: NoiseSpec, generator: Generator) -> Float[Tensor, "*shape"]:
    """Counts for intensities of any shape relative to the unaberrated crest, background included.

    Without photon noise the result stays in units of the crest. Nothing is rescaled here: a scale taken from
    the noise itself (min-max) is what spoiled the origin's noise-trained networks.
    """
    expected = images + noise.background_fraction
    if noise.background:
        uneven = torch.randn(images.shape, generator=generator, dtype=images.dtype)
        expected = (expected + uneven * noise.uneven_fraction).clamp_min(0)
    return _photon_counts(expected * noise.photons, generator) if noise.photons else expected


def expose_at_random(
    images: Float[Tensor, "images channels n n"],
    photons: tuple[float, float],
    background: tuple[float, float],
    binning: int,
    generator: Generator,
) -> Float[Tensor, "images channels n n"]:
    """Counts for intensities (B, channels, n, n), each image with its own light and background.

    ``photons`` are the least and the most counts at the unaberrated crest, with uniform logarithm, ``background`` the
    least and the largest fraction of them. A binned pixel, the mean of ``binning`` squared, holds the sum of their
    counts, for sums of Poisson counts are Poisson counts.
    """
    shape = (len(images), 1, 1, 1)
    random = torch.rand(2, *shape, generator=generator).to(images)
    least, most = photons
    crest = least * (most / least) ** random[0]
    lifted = images + (background[0] + (background[1] - background[0]) * random[1])
    expected = lifted.clamp_min(0) * crest * binning**2
    if expected.device != generator.device:
        # A device draws with a generator of its own, which the given one starts.
        seed = int(torch.randint(2**62, (1,), generator=generator))
        generator = Generator(expected.device).manual_seed(seed)
    return _photon_counts(expected, generator)


def _photon_counts(expected: Tensor, generator: Generator) -> Tensor:
    # Rounding may leave the darkest pixels a hair below zero.
    return torch.poisson(expected.clamp_min(0), generator)
