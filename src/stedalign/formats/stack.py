"""From a file to an image, by the format that its suffix names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stedalign import formats
from stedalign.errors import InputError, check_type, is_about_the_name
from stedalign.formats import ome_tiff
from stedalign.formats.stored import StackError, Stored
from stedalign.imaging.bead_in_sections import around_bead_in, square_around_bead
from stedalign.imaging.bead_in_volume import around_bead, sections_through_bead
from stedalign.imaging.images import (
    AXES_OF,
    PLANES,
    FocalSection,
    Image,
    OrthoSections,
    PixelSize,
    Plane,
    Sections,
    Volume,
)


class Reader(Protocol):
    """What a format offers."""

    def __call__(self, path: Path, /) -> Stored: ...


def readers() -> dict[str, Reader]:
    """How each suffix is read: every module of this package that names ``SUFFIXES`` is a format."""
    modules = [import_module(f"{formats.__name__}.{found.name}") for found in iter_modules(formats.__path__)]
    return {suffix: module.read for module in modules for suffix in getattr(module, "SUFFIXES", ())}


def load_sections(files: Mapping[str, Path | str], *, pixel_nm: PixelSize | None = None) -> Sections:
    """Read sections, "xy", "xz" or "yz", each from a file of its own that holds it alone.

    The columns and rows of an xz section are x and z, those of a yz section y and z. The size of its pixels along both
    comes from its file, as X and Y there, or, where given, from ``pixel_nm`` (x, y, z). Sections may differ in size;
    their middles are taken for one point. Where they show far more than their bead they are cut around it, and shifts
    count from there. Raises ``StackError``, one line, for anything else, and ``OSError`` where a disk fails.
    """
    check_type("sa.load_sections", files, Mapping)
    if not files or not set(files) <= set(PLANES):
        raise StackError(f"sections xy, xz or yz are expected, got {', '.join(files) or 'none'}")
    sizes = dict(zip("xyz", pixel_nm, strict=True)) if pixel_nm else None
    planes, levels, simulated = {}, [], False
    for name, file in files.items():
        check_type("sa.load_sections", file, str, os.PathLike)
        path = Path(file)
        found = _stored(path)
        data = np.squeeze(found.data)
        if data.ndim != 2:
            raise StackError(f"{path}: a file with the {name} section alone is expected, got the shape {data.shape}")
        x, y, _ = found.pixel_nm
        pixel = (sizes[AXES_OF[name][0]], sizes[AXES_OF[name][1]]) if sizes else (y, x)
        _check_values(path, data, () if sizes else pixel)
        planes[name] = Plane(data, pixel)
        levels += [level for level in [_ceiling(data)] if level is not None]
        simulated |= found.simulated
    try:
        return Sections.of(around_bead_in(planes), saturation=min(levels, default=None), simulated=simulated)
    except InputError as error:
        raise StackError(f"{', '.join(str(file) for file in files.values())}: {error}") from error


def load_stack(
    path: Path | str, *, pixel_nm: PixelSize | None = None, samples: int | None = None, whole: bool = False
) -> Image:
    """Read three sections (3, N, N), an xy section alone (Y, X), or a volume (Z, Y, X) with one bead.

    From a volume the sections are cut through the bead, or, where the ``whole`` volume is wanted, what lies around it;
    sections are cut around their bead where they show far more. Shifts count from the middle of what is left. Pixel
    sizes come from the file or, where given, from ``pixel_nm`` (x, y, z). ``samples`` limits the pixels along each axis
    of the sections cut from a volume. A file whose suffix no format names is read as TIFF, as those of many microscopes
    are. Raises ``StackError``, one line, for anything that is not such an image, and ``OSError`` where a disk fails.
    """
    check_type("sa.load_stack", path, str, os.PathLike)
    path = Path(path)
    stored = _stored(path)
    data = np.squeeze(stored.data)
    if data.ndim not in (2, 3):
        raise StackError(
            f"{path}: sections (3, N, N), a volume (Z, Y, X) or an xy section (Y, X) are expected, "
            f"got the shape {data.shape}"
        )
    x, y, z = pixel_nm or stored.pixel_nm
    pixel = x, y, x if data.ndim == 2 and pixel_nm is None else z
    _check_values(path, data, pixel if pixel_nm is None else ())
    if whole and (data.ndim == 2 or data.shape[0] == 3):
        raise StackError(f"{path}: no volume, whose planes could all be taken: its shape is {data.shape}")
    facts: dict[str, Any] = {
        "saturation": _ceiling(data),
        "simulated": stored.simulated,
    }
    try:
        if data.ndim == 2:
            section = FocalSection(data, pixel, **facts)
            return replace(section, data=around_bead_in({"xy": Plane(section.data, pixel[1::-1])})["xy"].data)
        if data.shape[0] == 3:
            return square_around_bead(OrthoSections(data, pixel, **facts))
        volume = Volume(data, pixel, **facts)
        return around_bead(volume) if whole else sections_through_bead(volume, samples)[0]
    except InputError as error:
        raise StackError(f"{path}: {error}") from error


def _stored(path: Path) -> Stored:
    """What a file tells, by the format that its suffix names."""
    try:
        return readers().get(path.suffix.lower(), ome_tiff.read)(path)
    except OSError as error:
        if not is_about_the_name(error):
            raise
        raise StackError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error


def _check_values(path: Path, data: NDArray[Any], pixel_nm: Sequence[float]) -> None:
    """Raise ``StackError`` for values that are no numbers, and where the file does not tell ``pixel_nm``."""
    if np.isnan(pixel_nm).any():
        raise StackError(f"{path}: the file does not tell its pixel sizes; give them with --pixel-nm X Y Z")
    if data.dtype.kind not in "uif":
        raise StackError(f"{path}: real numbers are expected, got {data.dtype}")
    if not np.isfinite(data).all():
        raise StackError(f"{path}: the image holds NaN or infinite values")


def _ceiling(data: NDArray[Any]) -> float | None:
    """The largest count that whole numbers of this kind can hold; None for others."""
    return float(np.iinfo(data.dtype).max) if data.dtype.kind in "ui" else None
