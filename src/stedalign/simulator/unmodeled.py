"""What the simulated microscope does to an image that no model knows: disorder of scan, light, panel and pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stedalign.errors import InputError
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.spec import Spec

Floats = NDArray[np.float64]

FRINGE_PERIOD_NM = 300.0, 3000.0
"""Shortest and longest period of fringes, between which its logarithm is drawn."""
HOT_CREST = 0.5, 3.0
"""How bright a hot pixel is, relative to the crest."""
FLATNESS_ORDERS = range(5, 9)


class Unmodeled(Spec):
    """Effects outside every model. Fractions are of the crest of the ideal focus; all but the panel's are drawn anew
    for each section, or for each plane of a volume."""

    line_jitter_nm: float = Field(default=0.0, ge=0, le=100)
    """Standard deviation of the displacement of each line along itself."""
    fringes: float = Field(default=0.0, ge=0, le=10)
    """Amplitude of straight fringes of stray coherent light, of any direction and phase and 300 to 3000 nm period."""
    baseline: float = Field(default=0.0, ge=0, le=10)
    """Peak to valley of an uneven baseline: a drawn polynomial of second order over the section."""
    crosstalk_px: float = Field(default=0.0, ge=0, le=5)
    """Standard deviation of a Gaussian blur of the panel's gray levels, in its pixels."""
    flatness: Wavefront | None = None
    """What the panel adds to every mask; none = nothing."""
    hot_pixels: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the pixels that are 0.5 to 3 crests bright, whatever they see."""
    dead_pixels: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the pixels that see nothing."""
    bad_lines: int = Field(default=0, ge=0, le=10_000)
    """Lines of each section that hold one level all along, between nothing and the crest."""
    junk_lines: int = Field(default=0, ge=0, le=10_000)
    """First lines and first columns of each section that hold anything between nothing and the crest."""

    @model_validator(mode="after")
    def _is_possible(self) -> Unmodeled:
        if self.flatness is not None:
            self.flatness.check_range()
        return self

    def spoil(self, section: Floats, axes_nm: tuple[Floats, Floats], generator: np.random.Generator) -> Floats:
        """The intensity (rows, columns) with stray light, uneven baseline and spoiled pixels.

        ``axes_nm`` are the places of rows and columns.
        """
        down, right = axes_nm
        if self.fringes:
            section = section + self.fringes * _fringes(down[:, None], right, generator)
        if self.baseline:
            section = section + self.baseline * _surface(len(down), len(right), generator)
        section = section.copy()
        if self.bad_lines:
            lines = generator.choice(len(down), size=min(self.bad_lines, len(down)), replace=False)
            section[lines] = generator.uniform(size=(len(lines), 1))
        if self.hot_pixels:
            hot = generator.uniform(size=section.shape) < self.hot_pixels
            section[hot] = generator.uniform(*HOT_CREST, size=hot.sum())
        if self.dead_pixels:
            section[generator.uniform(size=section.shape) < self.dead_pixels] = 0
        if self.junk_lines:
            junk = np.logical_or.outer(np.arange(len(down)) < self.junk_lines, np.arange(len(right)) < self.junk_lines)
            section[junk] = generator.uniform(size=junk.sum())
        return section


def _fringes(down_nm: Floats, right_nm: Floats, generator: np.random.Generator) -> Floats:
    """Straight fringes between 0 and 2, their mean 1."""
    angle, phase = generator.uniform(0, 2 * np.pi, size=2)
    shortest, longest = FRINGE_PERIOD_NM
    period = shortest * (longest / shortest) ** generator.uniform()
    along = np.cos(angle) * down_nm + np.sin(angle) * right_nm
    return np.asarray(1 + np.cos(2 * np.pi * along / period + phase))


def _surface(rows: int, columns: int, generator: np.random.Generator) -> Floats:
    """A polynomial surface of second order between 0 and 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    surface = np.tensordot(generator.normal(size=5), np.stack([x, y, x**2, x * y, y**2]), axes=1)
    return np.asarray((surface - surface.min()) / np.ptp(surface))


def draw_flatness(generator: np.random.Generator, rms_waves: float) -> Wavefront:
    """A wavefront of modes of the orders 5 to 8 alone, of random direction and a given rms."""
    modes = ModeSet.of((n, m) for n in FLATNESS_ORDERS for m in range(-n, n + 1, 2))
    waves = generator.normal(size=len(modes))
    return Wavefront(modes, tuple((waves * rms_waves / np.linalg.norm(waves)).tolist()))


EFFECTS: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "line jitter": lambda _: {"line_jitter_nm": 3.0},
    "fringes": lambda _: {"fringes": 0.02},
    "baseline": lambda _: {"baseline": 0.03},
    "crosstalk": lambda _: {"crosstalk_px": 0.7},
    "flatness": lambda generator: {"flatness": draw_flatness(generator, 0.03)},
    "pixels": lambda _: {"hot_pixels": 0.002, "dead_pixels": 0.002},
    "lines": lambda _: {"bad_lines": 1, "junk_lines": 2},
}
"""Each by name, as strong as in an instrument that nobody looked after."""


def draw_unmodeled(generator: np.random.Generator, names: Iterable[str] = tuple(EFFECTS)) -> Unmodeled:
    """Some of the ``EFFECTS`` together. Raises ``InputError`` for an unknown name."""
    facts: dict[str, Any] = {}
    for name in names:
        if name not in EFFECTS:
            raise InputError(f"no effect is called '{name}'; known: {', '.join(EFFECTS)}")
        facts |= EFFECTS[name](generator)
    return Unmodeled(**facts)
