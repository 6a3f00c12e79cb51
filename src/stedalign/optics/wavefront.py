"""A set of modes, and a wavefront: coefficients that never travel without their modes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from reprlib import repr as brief
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.optics.zernike import Mode

RMS_UNIT, PEAK_UNIT = "rms waves", "peak waves"
"""The units that files tell of: of orthonormal polynomials, and of those that are 1 at the edge."""
LARGEST_RMS_WAVES = 2.0
"""Root of the sum of all squares: what a focus takes a sensible number of nodes for (a search ends at 0.7)."""
LABEL_UNIT = "peak_waves"
"""The unit of the labels in datasets, and so of what the networks give."""


@dataclass(frozen=True)
class ModeSet:
    """An ordered tuple of distinct Zernike modes. Raises ``InputError`` when empty or repeated."""

    modes: tuple[Mode, ...]

    def __post_init__(self) -> None:
        if not self.modes:
            raise InputError("a mode set needs at least one mode")
        if len(set(self.modes)) != len(self.modes):
            raise InputError(f"a mode set names each mode once, got {self}")

    @classmethod
    def of(cls, pairs: Iterable[Sequence[int]]) -> ModeSet:
        """A mode set from (n, m) pairs. Raises ``InputError`` for a pair that is no mode."""
        checked = []
        for pair in pairs:
            if len(pair) != 2 or not all(type(value) is int for value in pair):
                raise InputError(f"a mode is a pair of whole numbers (n, m), got {pair}")
            checked.append(Mode(*pair))
        return cls(tuple(checked))

    @classmethod
    def from_ansi(cls, numbers: Iterable[int]) -> ModeSet:
        return cls(tuple(Mode.from_ansi(number) for number in numbers))

    @classmethod
    def from_noll(cls, numbers: Iterable[int]) -> ModeSet:
        return cls(tuple(Mode.from_noll(number) for number in numbers))

    @classmethod
    def default(cls) -> ModeSet:
        """The 11 modes ANSI 3..14 without defocus (4), which the stage corrects instead."""
        return cls.from_ansi(number for number in range(3, 15) if number != 4)

    @classmethod
    def report12(cls) -> ModeSet:
        """ANSI 3..14, defocus included."""
        return cls.from_ansi(range(3, 15))

    @property
    def pairs(self) -> list[list[int]]:
        return [[mode.n, mode.m] for mode in self.modes]

    @property
    def norms(self) -> NDArray[np.float64]:
        """Each mode's value at the pupil's edge, shape (modes,): peak waves = rms waves x norm."""
        return np.array([mode.norm for mode in self.modes])

    def polynomials(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Orthonormal polynomials at pupil points of shape S (pupil radii): shape (*S, modes)."""
        return np.stack([mode.polynomial(x, y) for mode in self.modes], axis=-1)

    def __len__(self) -> int:
        return len(self.modes)

    def __iter__(self) -> Iterator[Mode]:
        return iter(self.modes)

    def __str__(self) -> str:
        return "[" + ", ".join(f"({mode.n}, {mode.m})" for mode in self.modes) + "]"


@dataclass(frozen=True)
class Wavefront:
    """Coefficients on a mode set, in rms waves at the beam's wavelength.

    Raises ``InputError`` when the numbers do not fit the modes or are not finite.
    """

    modes: ModeSet
    waves: tuple[float, ...]

    def __post_init__(self) -> None:
        if any(isinstance(value, bool | np.bool_ | str) for value in self.waves):
            raise InputError(f"a wavefront needs numbers as coefficients, got {brief(self.waves)}")
        values = tuple(float(value) for value in self.waves)
        if len(values) != len(self.modes):
            raise InputError(f"{len(self.modes)} modes need as many coefficients, got {len(values)}")
        if not all(math.isfinite(value) for value in values):
            raise InputError("a wavefront needs finite coefficients")
        object.__setattr__(self, "waves", values)

    @classmethod
    def zero(cls, modes: ModeSet) -> Wavefront:
        return cls(modes, (0.0,) * len(modes))

    @classmethod
    def from_peak_waves(cls, modes: ModeSet, peak_waves: Sequence[float] | NDArray[Any]) -> Wavefront:
        """From coefficients of un-normalized polynomials (value 1 at the edge), the origin's labels."""
        return cls(modes, tuple(np.asarray(peak_waves, dtype=float) / modes.norms))

    @property
    def array(self) -> NDArray[np.float64]:
        return np.array(self.waves)

    @property
    def peak_waves(self) -> NDArray[np.float64]:
        """Coefficients of the un-normalized polynomials, shape (modes,)."""
        return self.array * self.modes.norms

    @property
    def rms_waves(self) -> float:
        """Root of the sum of squares over all modes but piston."""
        return math.sqrt(sum(w * w for mode, w in zip(self.modes, self.waves, strict=True) if mode != Mode(0, 0)))

    def check_range(self) -> None:
        """Raise ``InputError`` where no focus of it can be computed, or corrected: for one that comes from outside."""
        length = math.hypot(*self.waves)
        if length > LARGEST_RMS_WAVES:
            raise InputError(
                f"waves: {length:.3g} waves rms are beyond range, at most {LARGEST_RMS_WAVES:g} can be served"
            )

    def on(self, modes: ModeSet) -> Wavefront:
        """The same wavefront written on another mode set.

        Raises ``InputError`` when a coefficient that is not zero has no place there.
        """
        known = dict(zip(self.modes, self.waves, strict=True))
        lost = [mode for mode, value in known.items() if value != 0 and mode not in set(modes)]
        if lost:
            raise InputError(f"{modes} has no place for {', '.join(mode.name for mode in lost)}")
        return Wavefront(modes, tuple(known.get(mode, 0.0) for mode in modes))

    def __add__(self, other: Wavefront) -> Wavefront:
        """Sum on the union of both mode sets, this one's modes first."""
        union = ModeSet(tuple(dict.fromkeys((*self.modes, *other.modes))))
        return Wavefront(union, tuple(self.on(union).array + other.on(union).array))

    def __neg__(self) -> Wavefront:
        return self * -1.0

    def __sub__(self, other: Wavefront) -> Wavefront:
        return self + -other

    def __mul__(self, factor: float) -> Wavefront:
        return Wavefront(self.modes, tuple(value * factor for value in self.waves))

    def to_json(self) -> dict[str, Any]:
        return {"modes": self.modes.pairs, "waves": list(self.waves)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Wavefront:
        """From plain data with ``modes``, ``waves`` and perhaps their ``unit``, rms waves without it.

        Raises ``InputError`` for what is no wavefront, for an unknown unit, and beyond range.
        """
        modes, unit = ModeSet.of(data["modes"]), data.get("unit", RMS_UNIT)
        if unit not in (RMS_UNIT, PEAK_UNIT):
            raise InputError(f"unit = {brief(unit)} is not known; known: '{RMS_UNIT}' and '{PEAK_UNIT}'")
        wavefront = cls(modes, tuple(data["waves"]))
        if unit == PEAK_UNIT:
            wavefront = cls.from_peak_waves(modes, wavefront.array)
        wavefront.check_range()
        return wavefront
