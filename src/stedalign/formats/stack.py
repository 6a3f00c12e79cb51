"""From a file to an image, by the format that its suffix names."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol

import numpy as np

from stedalign import formats
from stedalign.errors import InputError, check_type, is_about_the_name
from stedalign.formats import ome_tiff
from stedalign.formats.stored import StackError, Stored
from stedalign.imaging.bead_in_volume import around_bead, sections_through_bead
from stedalign.imaging.images import FocalSection, Image, OrthoSections, PixelSize, Volume


class Reader(Protocol):
    """What a format offers."""

    def __call__(self, path: Path, /) -> Stored: ...


def readers() -> dict[str, Reader]:
    """How each suffix is read: every module of this package that names ``SUFFIXES`` is a format."""
    modules = [import_module(f"{formats.__name__}.{found.name}") for found in iter_modules(formats.__path__)]
    return {suffix: module.read for module in modules for suffix in getattr(module, "SUFFIXES", ())}


def load_stack(
    path: Path | str, *, pixel_nm: PixelSize | None = None, samples: int | None = None, whole: bool = False
) -> Image:
    """Read three sections (3, N, N), an xy section alone (Y, X), or a volume (Z, Y, X) with one bead.

    From a volume the sections are cut through the bead, or, where the ``whole`` volume is wanted, what lies around it.
    Pixel sizes come from the file or, where given, from ``pixel_nm`` (x, y, z). ``samples`` limits the pixels along
    each axis of the sections cut from a volume. A file whose suffix no format names is read as TIFF, as those of many
    microscopes are. Raises ``StackError``, one line, for anything that is not such an image, and ``OSError`` where a
    disk fails.
    """
    check_type("sa.load_stack", path, str, os.PathLike)
    path = Path(path)
    try:
        stored = readers().get(path.suffix.lower(), ome_tiff.read)(path)
    except OSError as error:
        if not is_about_the_name(error):
            raise
        raise StackError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    data = np.squeeze(stored.data)
    if data.ndim not in (2, 3):
        raise StackError(
            f"{path}: sections (3, N, N), a volume (Z, Y, X) or an xy section (Y, X) are expected, "
            f"got the shape {data.shape}"
        )
    x, y, z = pixel_nm or stored.pixel_nm
    pixel = x, y, x if data.ndim == 2 and pixel_nm is None else z
    if pixel_nm is None and np.isnan(pixel).any():
        raise StackError(f"{path}: the file does not tell its pixel sizes; give them with --pixel-nm X Y Z")
    if data.dtype.kind not in "uif":
        raise StackError(f"{path}: real numbers are expected, got {data.dtype}")
    if not np.isfinite(data).all():
        raise StackError(f"{path}: the image holds NaN or infinite values")
    if whole and (data.ndim == 2 or data.shape[0] == 3):
        raise StackError(f"{path}: no volume, whose planes could all be taken: its shape is {data.shape}")
    facts: dict[str, Any] = {
        "saturation": float(np.iinfo(data.dtype).max) if data.dtype.kind in "ui" else None,
        "simulated": stored.simulated,
    }
    try:
        if data.ndim == 2:
            return FocalSection(data, pixel, **facts)
        if data.shape[0] == 3:
            return OrthoSections(data, pixel, **facts)
        volume = Volume(data, pixel, **facts)
        return around_bead(volume) if whole else sections_through_bead(volume, samples)[0]
    except InputError as error:
        raise StackError(f"{path}: {error}") from error
