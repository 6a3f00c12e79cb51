"""Images of a bead, of any kind: what each shows of the focus, the counts that it holds, and their normalization."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from stedalign.errors import InputError
from stedalign.optics.targets import Grid, centered, section
from stedalign.spec import Spec

PLANES = ("xy", "xz", "yz")
BACKGROUND_QUANTILE = 0.1
VOLUME = "volume"
AXES_OF = {"xy": "yx", "xz": "zx", "yz": "zy", VOLUME: "zyx"}
"""The axes of each part of an image, the slowest first."""
LEAST_PIXELS = 8
"""Pixels along each axis of an image."""
SMALLEST_PIXEL_NM = 1.0
"""Of an image that was recorded: a smaller number is one of micrometers."""
LARGEST_PIXEL_NM = 1000.0
SAME_PIXEL = 0.01
"""How far the size of pixels may differ between sections and still be called the same, as a fraction."""
Floats = NDArray[np.float64]
PixelSize = tuple[float, float, float]
PixelNm = Annotated[float, Field(gt=0, le=LARGEST_PIXEL_NM)]


class Plane(NamedTuple):
    """One section as it is imaged."""

    data: Floats
    """Counts (rows, columns)."""
    pixel_nm: tuple[float, float]
    """Pixel size along the rows' axis and the columns' axis: z, x of an xz section."""


class View(Spec):
    """What an image shows: one or several exposures, each with its own light, all through the nominal focus."""

    parts: tuple[str, ...]
    """Of "xy", "xz", "yz" and "volume"."""
    shape: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...]
    """Pixels of each of them, along the slowest axis first; sample i of N lies at (i - (N-1)/2) pixels."""
    pixel_nm: tuple[PixelNm, PixelNm, PixelNm]
    """Pixel size along x, y, z."""
    part_pixel_nm: tuple[tuple[PixelNm, ...], ...] = ()
    """Pixel size of each part along its own axes, where parts differ in it."""
    integrate: bool = False
    """Whether each pixel holds the mean over its area or volume."""

    @property
    def axes(self) -> str:
        """The axes that the image resolves, of "xyz"."""
        return "".join(axis for axis in "xyz" if any(axis in AXES_OF[part] for part in self.parts))

    @property
    def pixels(self) -> int:
        """Of all parts together."""
        return len(self.parts) * int(np.prod(self.shape))

    def pixel_of(self, part: str) -> dict[str, float]:
        """Pixel size in nm along each axis of a part, in the order of its axes."""
        if self.part_pixel_nm:
            return dict(zip(AXES_OF[part], self.part_pixel_nm[self.parts.index(part)], strict=True))
        pixel = dict(zip("xyz", self.pixel_nm, strict=True))
        return {axis: pixel[axis] for axis in AXES_OF[part]}

    def half_width_nm(self, axis: str) -> float:
        """How far the image reaches along one of ``axes``, from its middle."""
        return max(
            count * pixel / 2
            for part in self.parts
            for (name, pixel), count in zip(self.pixel_of(part).items(), self.shape, strict=True)
            if name == axis
        )

    def targets(self) -> list[Grid]:
        """The parts for ``Focus``."""
        return [
            section(AXES_OF[part], self.shape, list(self.pixel_of(part).values()), integrate=self.integrate)
            for part in self.parts
        ]


@dataclass(frozen=True, eq=False)
class Image(ABC):
    """Counts with the size of their pixels.

    Raises ``InputError`` for the wrong shape, for pixel sizes that are not positive, or for values that are not finite
    real numbers.
    """

    data: Floats
    pixel_nm: PixelSize
    """Pixel size along x, y, z."""
    saturation: float | None = None
    """The count at which the detector clips, where known."""
    simulated: bool = False
    """Whether it comes from the simulator, which its files and drawings tell."""

    @property
    @abstractmethod
    def view(self) -> View: ...

    @property
    def counts(self) -> Float[Floats, " parts *pixels"]:
        """The parts of the view, shape (parts, ...)."""
        return self.data.reshape(len(self.view.parts), *self.view.shape)

    def __post_init__(self) -> None:
        data = np.asarray(self.data)
        if data.dtype.kind not in "uif":
            raise InputError(f"an image holds real numbers, got {data.dtype}")
        data = np.array(data, dtype=np.float64)
        self._check_shape(data.shape)
        if not np.isfinite(data).all():
            raise InputError("the image holds NaN or infinite values")
        if len(self.pixel_nm) != 3:
            raise InputError(f"pixel sizes must be three positive lengths in nm, got {self.pixel_nm}")
        check_pixel_nm(self.pixel_nm)
        data.flags.writeable = False
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "pixel_nm", tuple(float(pixel) for pixel in self.pixel_nm))

    @abstractmethod
    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ``InputError`` unless data of this shape are such an image."""


@dataclass(frozen=True, eq=False)
class FocalSection(Image):
    """The xy section alone: ``data`` (Y, X)."""

    @property
    def view(self) -> View:
        return View(parts=("xy",), shape=self.data.shape, pixel_nm=self.pixel_nm)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or min(shape) < LEAST_PIXELS:
            raise InputError(
                f"a section (Y, X) of at least {LEAST_PIXELS} pixels each is expected, got the shape {shape}"
            )


@dataclass(frozen=True, eq=False)
class Volume(Image):
    """All planes of a z-stack: ``data`` (Z, Y, X)."""

    @property
    def view(self) -> View:
        return View(parts=(VOLUME,), shape=self.data.shape, pixel_nm=self.pixel_nm)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or min(shape) < LEAST_PIXELS:
            raise InputError(f"a volume (Z, Y, X) of at least {LEAST_PIXELS} pixels is expected, got the shape {shape}")


class Sampling(Spec):
    """How the three sections are sampled; sample i of N lies at (i - (N-1)/2) pixels."""

    samples: int = Field(64, ge=8, le=512)
    """Samples along each axis."""
    pixel_nm: tuple[float, float, float] = (31.25, 31.25, 31.25)
    """Pixel size along x, y, z."""
    integrate: bool = False
    """Whether each pixel holds the mean over its area, as where a detector or a scan integrates."""

    def model_post_init(self, context: Any, /) -> None:
        if not all(0 < pixel <= LARGEST_PIXEL_NM for pixel in self.pixel_nm):
            raise InputError(f"pixel_nm {self.pixel_nm} must lie between 0 and {LARGEST_PIXEL_NM:g} nm")

    @property
    def axis_px(self) -> Float[Floats, " samples"]:
        """Positions of the samples in pixels, shape (samples,)."""
        return centered(self.samples, 1.0)

    @property
    def view(self) -> View:
        """What an image of the three sections shows."""
        return View(parts=PLANES, shape=(self.samples, self.samples), pixel_nm=self.pixel_nm, integrate=self.integrate)

    def targets(self) -> list[Grid]:
        """The xy, xz and yz section for ``Focus``."""
        return self.view.targets()

    def points_nm(self) -> list[Float[Floats, "points 3"]]:
        """The points (samples^2, 3) of the xy, xz and yz section in nm, row by row."""
        return [target.points_nm for target in self.targets()]


@dataclass(frozen=True, eq=False)
class OrthoSections(Image):
    """Three sections of one image: ``data`` (3, N, N) in counts, as xy [y, x], xz [z, x] and yz [z, y]."""

    @property
    def sampling(self) -> Sampling:
        return Sampling(samples=self.data.shape[1], pixel_nm=self.pixel_nm)

    @property
    def view(self) -> View:
        return View(parts=PLANES, shape=self.data.shape[1:], pixel_nm=self.pixel_nm)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
            raise InputError(f"three square sections (3, N, N) are expected, got the shape {shape}")
        if shape[1] < LEAST_PIXELS:
            raise InputError(f"sections of {shape[1]} pixels are too small: {LEAST_PIXELS} at least")


@dataclass(frozen=True, eq=False)
class Sections(Image):
    """Any of the three sections, of any shape: ``data`` (parts, rows, columns) in counts, as of ``OrthoSections``."""

    parts: tuple[str, ...] = PLANES
    margins: tuple[tuple[int, int], ...] = ()
    """Rows and columns at either side of each section that were not imaged; none = all were."""
    part_pixel_nm: tuple[tuple[float, float], ...] = ()
    """Pixel size of each section along its rows' and its columns' axis, where sections differ in it."""

    @classmethod
    def of(cls, sections: Mapping[str, Plane], **facts: Any) -> Sections:
        """Sections by name, "xy", "xz" or "yz", each of its own size and with its own pixels.

        The middle of each is taken for that of the others; a row or a column is cut off where that needs one. Raises
        ``InputError`` for other names, for no section, and for pixels without a size.
        """
        if not sections or any(name not in PLANES for name in sections):
            raise InputError(f"sections xy, xz or yz are expected, got {', '.join(sections) or 'none'}")
        sizes: dict[str, float] = {}
        alike = True
        for name, plane in sections.items():
            if plane.data.ndim != 2 or min(plane.data.shape) < LEAST_PIXELS:
                raise InputError(f"{name}: a section of at least {LEAST_PIXELS} pixels along each side is expected")
            for axis, pixel in zip(AXES_OF[name], plane.pixel_nm, strict=True):
                if not 0 < pixel < np.inf:
                    raise InputError(f"{name}: pixels have a positive size in nm, got {pixel}")
                alike &= abs(sizes.setdefault(axis, pixel) / pixel - 1) <= SAME_PIXEL
                sizes[axis] = min(pixel, sizes[axis])
        parts = tuple(name for name in PLANES if name in sections)
        planes = [sections[name].data for name in parts]
        rows, columns = (max(plane.shape[side] for plane in planes) for side in (0, 1))
        margins = tuple(((rows - plane.shape[0] + 1) // 2, (columns - plane.shape[1] + 1) // 2) for plane in planes)
        padded = [_padded(plane, (rows, columns), margin) for plane, margin in zip(planes, margins, strict=True)]
        # Along an axis that no section shows any size will do.
        x, y, z = (sizes.get(axis, next(iter(sizes.values()))) for axis in "xyz")
        each = () if alike else tuple(sections[name].pixel_nm for name in parts)
        return cls(np.stack(padded), (x, y, z), parts=parts, margins=margins, part_pixel_nm=each, **facts)

    @property
    def view(self) -> View:
        return View(
            parts=self.parts,
            shape=self.data.shape[1:],
            pixel_nm=self.pixel_nm,
            part_pixel_nm=self.part_pixel_nm,
        )

    def imaged(self, name: str) -> tuple[slice, slice]:
        """The rows and the columns of a section that were imaged."""
        rows, columns = self.margins[self.parts.index(name)] if self.margins else (0, 0)
        return slice(rows, self.data.shape[1] - rows), slice(columns, self.data.shape[2] - columns)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[0] != len(self.parts) or min(shape[1:]) < LEAST_PIXELS:
            raise InputError(
                f"{len(self.parts)} sections of at least {LEAST_PIXELS} pixels each are expected, got the shape {shape}"
            )


def _padded(plane: Floats, shape: tuple[int, int], margin: tuple[int, int]) -> Floats:
    """A section in the middle of a larger ``shape``, less a row or a column where it has no middle there."""
    rows, columns = (size - 2 * beside for size, beside in zip(shape, margin, strict=True))
    (above, beside) = margin
    return np.pad(plane[:rows, :columns].astype(np.float64), ((above, above), (beside, beside)), mode="edge")


def check_pixel_nm(sizes: Sequence[float]) -> None:
    """Raise ``InputError`` for pixel sizes that no image of a bead has, among them those in micrometers."""
    given = f"({', '.join(f'{size:g}' for size in sizes)})"
    if not all(0 < size < np.inf for size in sizes):
        raise InputError(f"pixel sizes must be three positive lengths in nm, got {given}")
    if min(sizes) < SMALLEST_PIXEL_NM:
        in_nm = f"({', '.join(f'{1e3 * size:g}' for size in sizes)})"
        raise InputError(f"pixels of {given} nm look like micrometers: give nm, here {in_nm}")
    if max(sizes) > LARGEST_PIXEL_NM:
        raise InputError(f"pixels of {given} nm must lie between {SMALLEST_PIXEL_NM:g} and {LARGEST_PIXEL_NM:g} nm")


def cut_sections(
    volume: Shaped[NDArray[Any], "z y x"], center: tuple[int, int, int], samples: int
) -> Float[Floats, "3 {samples} {samples}"]:
    """The three planes of a volume (Z, Y, X) through the voxel ``center`` (z, y, x): (3, samples, samples).

    The voxel comes to lie at index samples // 2 of each section. Raises ``InputError`` where the volume ends
    before the sections do.
    """
    starts = [position - samples // 2 for position in center]
    if any(start < 0 or start + samples > size for start, size in zip(starts, volume.shape, strict=True)):
        raise InputError(
            f"sections of {samples} samples around the voxel {center} do not fit a volume of shape {volume.shape}"
        )
    z, y, x = (slice(start, start + samples) for start in starts)
    return np.stack([volume[center[0], y, x], volume[z, center[1], x], volume[z, y, center[2]]]).astype(np.float64)


def normalize(sections: Float[Tensor, "*images parts n n"]) -> Float[Tensor, "*images parts n n"]:
    """Sections (..., 3, N, N) with their background subtracted and one common scale, for networks.

    The background is the lowest decile over the three sections together and the scale the root mean square
    of what remains: neither hangs on a single noisy pixel, and the ratio between the sections survives.
    """
    pixels = sections.flatten(-3)
    rank = max(1, round(BACKGROUND_QUANTILE * pixels.shape[-1]))
    background = pixels.kthvalue(rank, dim=-1, keepdim=True).values
    signal = pixels - background
    scale = signal.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(torch.finfo(signal.dtype).tiny)
    return (signal / scale).reshape(sections.shape)
