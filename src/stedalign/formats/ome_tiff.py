"""OME-TIFF: volumes, three-plane stacks or single planes in and out, and any other TIFF in."""

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
from stedalign.formats.stored import UNKNOWN, StackError, Stored
from stedalign.imaging.images import PLANES, OrthoSections, PixelSize

NM_PER_UNIT = {"nm": 1.0, "µm": 1e3, "um": 1e3, "mm": 1e6, "m": 1e9, "pm": 1e-3, "Å": 0.1}
SIMULATED = "SIMULATED"
"""How the description of a simulated image begins."""
SUFFIXES = (".tif", ".tiff")


def read(path: Path) -> Stored:
    """The image in a TIFF file, and what its OME metadata tell.

    Raises ``StackError`` where there is none or a part is missing, ``OSError`` where the file cannot be read.
    """
    try:
        with _complaints_are_errors(), tifffile.TiffFile(path) as file:
            return Stored(file.asarray(), *_ome_facts(file.ome_metadata))
    except OSError:
        raise
    # A damaged TIFF can fail anywhere in the decoder, with any exception; all mean the same to the user.
    except Exception as error:
        raise StackError(f"{path}: not a readable TIFF file ({error})") from error


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
    """Pixel sizes (x, y, z) in nm, nan where one is missing, and whether OME-XML says that the image was simulated."""
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
