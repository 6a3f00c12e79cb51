"""Image files: OME-TIFF volumes or three-plane stacks and .npy in, OME-TIFF out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.files import replacing
from stedalign.imaging.bead_in_volume import around_bead, sections_through_bead
from stedalign.imaging.images import PLANES, FocalSection, Image, OrthoSections, PixelSize, Volume

NM_PER_UNIT = {"nm": 1.0, "µm": 1e3, "um": 1e3, "mm": 1e6, "m": 1e9, "pm": 1e-3, "Å": 0.1}
SIMULATED = "SIMULATED"
"""How the description of a simulated image's file begins."""
UNKNOWN = math.nan, math.nan, math.nan


class StackError(InputError):
    """A file that holds no usable image, with the reason."""


def load_stack(
    path: Path | str, *, pixel_nm: PixelSize | None = None, samples: int | None = None, whole: bool = False
) -> Image:
    """Read three sections (3, N, N), an xy section alone (Y, X), or a volume (Z, Y, X) with one bead.

    From a volume the sections are cut through the bead, or, where the ``whole`` volume is wanted, what lies around it.
    Pixel sizes come from the OME metadata or, where given, from ``pixel_nm`` (x, y, z). ``samples`` limits the pixels
    along each axis of the sections cut from a volume. Raises ``StackError``, one line, for anything that is not such a
    image.
    """
    path = Path(path)
    try:
        data, stored_nm, simulated = _read_npy(path) if path.suffix.lower() == ".npy" else _read_tiff(path)
    except OSError as error:
        raise StackError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    data = np.squeeze(data)
    if data.ndim not in (2, 3):
        raise StackError(
            f"{path}: sections (3, N, N), a volume (Z, Y, X) or an xy section (Y, X) are expected, "
            f"got the shape {data.shape}"
        )
    x, y, z = pixel_nm or stored_nm
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
        "simulated": simulated,
    }
    try:
        if data.ndim == 2:
            return FocalSection(data, pixel, **facts)
        if data.shape[0] == 3:
            return OrthoSections(data, pixel, **facts)
        volume = Volume(data, pixel, **facts)
        return around_bead(volume) if whole else sections_through_bead(volume, samples)[0]
    except ValueError as error:
        raise StackError(f"{path}: {error}") from error


def save_sections(path: Path | str, sections: OrthoSections) -> None:
    """Write three sections as an OME-TIFF of channels xy, xz, yz; 16 bit where the counts fit, else float32."""
    counts = sections.data
    whole = bool((counts == np.rint(counts)).all() and counts.min() >= 0 and counts.max() <= 65535)
    _write(Path(path), counts.astype(np.uint16 if whole else np.float32), "CYX", sections.pixel_nm, sections.simulated)


def save_volume(path: Path | str, counts: NDArray[Any], pixel_nm: PixelSize, *, simulated: bool = False) -> None:
    """Write a volume (Z, Y, X) of counts as an OME-TIFF."""
    _write(Path(path), counts, "ZYX", pixel_nm, simulated)


def _write(path: Path, data: NDArray[Any], axes: str, pixel_nm: PixelSize, simulated: bool) -> None:
    metadata: dict[str, Any] = {"axes": axes, "Description": SIMULATED if simulated else ""}
    for axis, size in zip("XYZ", pixel_nm, strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    if axes == "CYX":
        metadata["Channel"] = {"Name": list(PLANES)}
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, data, ome=True, photometric="minisblack", metadata=metadata)


def _read_npy(path: Path) -> tuple[NDArray[Any], PixelSize, bool]:
    # Not np.load: it also takes archives and pickles for .npy files.
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False), UNKNOWN, False
    except OSError:
        raise
    except Exception as error:
        raise StackError(f"{path}: not a readable .npy file ({error})") from error


def _read_tiff(path: Path) -> tuple[NDArray[Any], PixelSize, bool]:
    try:
        with _complaints_are_errors(), tifffile.TiffFile(path) as file:
            data = file.asarray()
            pixel_nm, simulated = _ome_facts(file.ome_metadata)
    except OSError:
        raise
    # A damaged TIFF can fail anywhere in the decoder, with any exception; all mean the same to the user.
    except Exception as error:
        raise StackError(f"{path}: not a readable TIFF file ({error})") from error
    return data, pixel_nm, simulated


@contextmanager
def _complaints_are_errors() -> Iterator[None]:
    """Raise ``InputError`` for what tifffile only logs as an error, such as pages that lie beyond a file's end.

    It would go on with the part of the image that is left.
    """
    logger, complaints = logging.getLogger("tifffile"), BufferingHandler(100_000)
    logger.addHandler(complaints)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(complaints)
    errors = [record.getMessage() for record in complaints.buffer if record.levelno >= logging.ERROR]
    if errors:
        raise InputError(f"damaged or truncated: {' '.join(errors[0].split())[:100]}")


def _ome_facts(ome: str | None) -> tuple[PixelSize, bool]:
    """Pixel sizes (x, y, z) in nm, nan where missing, and whether it is simulated, from OME-XML."""
    if ome is None:
        return UNKNOWN, False
    root = ElementTree.fromstring(ome)
    pixels = root.find(".//{*}Pixels")
    described = root.find(".//{*}Description")
    simulated = described is not None and (described.text or "").startswith(SIMULATED)
    if pixels is None:
        return UNKNOWN, simulated
    x, y, z = (
        float(pixels.get(f"PhysicalSize{axis}", "nan"))
        * NM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), math.nan)
        for axis in "XYZ"
    )
    return (x, y, z), simulated
