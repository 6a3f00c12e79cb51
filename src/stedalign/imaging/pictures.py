"""Pictures of a bead, of any kind: what each shows of the focus, and the counts that it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stedalign.optics.spec import Spec
from stedalign.optics.targets import Grid, section

VOLUME = "volume"
AXES_OF = {"xy": "yx", "xz": "zx", "yz": "zy", VOLUME: "zyx"}
"""The axes of each part of a picture, the slowest first."""
SMALLEST = 8
"""Pixels along each axis of a picture."""
Floats = NDArray[np.float64]
PixelSize = tuple[float, float, float]


class View(Spec):
    """What a picture shows: one or several exposures, each with its own light, all through the nominal focus."""

    parts: tuple[str, ...]
    """Of "xy", "xz", "yz" and "volume"."""
    shape: tuple[int, ...]
    """Pixels of each of them, along the slowest axis first; sample i of N lies at (i - (N-1)/2) pixels."""
    pixel_nm: PixelSize
    """Pixel size along x, y, z."""
    integrate: bool = False
    """Whether each pixel holds the mean over its area or volume."""

    @property
    def axes(self) -> str:
        """The axes that the picture resolves, of "xyz"."""
        return "".join(axis for axis in "xyz" if any(axis in AXES_OF[part] for part in self.parts))

    @property
    def pixels(self) -> int:
        """Of all parts together."""
        return len(self.parts) * int(np.prod(self.shape))

    def samples(self, axis: str) -> int:
        """Pixels along one of ``axes``."""
        return next(
            count for part in self.parts for name, count in zip(AXES_OF[part], self.shape, strict=True) if name == axis
        )

    def targets(self) -> list[Grid]:
        """The parts for ``Focus``."""
        pixel = dict(zip("xyz", self.pixel_nm, strict=True))
        return [
            section(axes, self.shape, [pixel[axis] for axis in axes], integrate=self.integrate)
            for axes in (AXES_OF[part] for part in self.parts)
        ]


@dataclass(frozen=True, eq=False)
class Picture(ABC):
    """Counts with the size of their pixels.

    Raises ``ValueError`` for the wrong shape, for pixel sizes that are not positive, or for values that are not finite
    real numbers.
    """

    data: Floats
    pixel_nm: PixelSize
    """Pixel size along x, y, z."""
    saturation: float | None = None
    """The count at which the detector clips, where known."""
    origin: str = ""
    """Where the picture comes from; pictures of the simulator say SIMULATED."""

    @property
    @abstractmethod
    def view(self) -> View: ...

    @property
    def counts(self) -> Floats:
        """The parts of the view, shape (parts, ...)."""
        return self.data.reshape(len(self.view.parts), *self.view.shape)

    def __post_init__(self) -> None:
        data = np.asarray(self.data)
        if data.dtype.kind not in "uif":
            raise ValueError(f"a picture holds real numbers, got {data.dtype}")
        data = np.array(data, dtype=np.float64)
        self._check_shape(data.shape)
        if not np.isfinite(data).all():
            raise ValueError("the picture holds NaN or infinite values")
        if len(self.pixel_nm) != 3 or not all(0 < pixel < np.inf for pixel in self.pixel_nm):
            raise ValueError(f"pixel sizes must be three positive lengths in nm, got {self.pixel_nm}")
        data.flags.writeable = False
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "pixel_nm", tuple(float(pixel) for pixel in self.pixel_nm))

    @abstractmethod
    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` unless data of this shape are such a picture."""


@dataclass(frozen=True, eq=False)
class FocalSection(Picture):
    """The xy section alone: ``data`` (Y, X)."""

    @property
    def view(self) -> View:
        return View(parts=("xy",), shape=self.data.shape, pixel_nm=self.pixel_nm)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or min(shape) < SMALLEST:
            raise ValueError(f"a section (Y, X) of at least {SMALLEST} pixels each is expected, got the shape {shape}")


@dataclass(frozen=True, eq=False)
class Volume(Picture):
    """All planes of a z-stack: ``data`` (Z, Y, X)."""

    @property
    def view(self) -> View:
        return View(parts=(VOLUME,), shape=self.data.shape, pixel_nm=self.pixel_nm)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or min(shape) < SMALLEST:
            raise ValueError(f"a volume (Z, Y, X) of at least {SMALLEST} pixels is expected, got the shape {shape}")
