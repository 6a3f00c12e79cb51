"""Picture files: OME-TIFF volumes or three-plane stacks and .npy in, OME-TIFF out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from stedalign.files import replacing
from stedalign.imaging.sections import PLANES, OrthoSections, cut_sections

PixelSize = tuple[float, float, float]
NM_PER_UNIT = {"nm": 1.0, "µm": 1e3, "um": 1e3, "mm": 1e6, "m": 1e9, "pm": 1e-3, "Å": 0.1}
SIMULATED = "SIMULATED"
JOINED_NM = 300.0, 300.0, 900.0
"""Bright pieces with a gap of at most this along x, y, z belong to one focus, which is longer than wide."""


class StackError(ValueError):
    """A file that holds no usable picture, with the reason."""


def load_stack(path: Path | str, *, pixel_nm: PixelSize | None = None, samples: int | None = None) -> OrthoSections:
    """Read three sections (3, N, N), or cut them from a volume (Z, Y, X) around its bead.

    Pixel sizes come from the OME metadata or, where given, from ``pixel_nm`` (x, y, z). ``samples`` limits the
    sections cut from a volume. Raises ``StackError``, one line, for anything that is not such a picture.
    """
    path = Path(path)
    try:
        data, stored_nm, origin = _read_npy(path) if path.suffix.lower() == ".npy" else _read_tiff(path)
    except OSError as error:
        raise StackError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    pixel = pixel_nm or stored_nm
    data = np.squeeze(data)
    if data.ndim != 3:
        raise StackError(f"{path}: sections (3, N, N) or a volume (Z, Y, X) are expected, got the shape {data.shape}")
    if pixel is None:
        raise StackError(f"{path}: the file does not tell its pixel sizes; give them with --pixel-nm X Y Z")
    if data.dtype.kind not in "uif":
        raise StackError(f"{path}: real numbers are expected, got {data.dtype}")
    if not np.isfinite(data).all():
        raise StackError(f"{path}: the picture holds NaN or infinite values")
    saturation = float(np.iinfo(data.dtype).max) if data.dtype.kind in "ui" else None
    try:
        if data.shape[0] != 3:
            data = _sections_of_volume(data, pixel, samples)
        return OrthoSections(data, pixel, saturation=saturation, origin=origin)
    except ValueError as error:
        raise StackError(f"{path}: {error}") from error


def save_sections(path: Path | str, sections: OrthoSections) -> None:
    """Write three sections as an OME-TIFF of channels xy, xz, yz; 16 bit where the counts fit, else float32."""
    counts = sections.data
    whole = bool((counts == np.rint(counts)).all() and counts.min() >= 0 and counts.max() <= 65535)
    _write(Path(path), counts.astype(np.uint16 if whole else np.float32), "CYX", sections.pixel_nm, sections.origin)


def save_volume(path: Path | str, counts: NDArray[Any], pixel_nm: PixelSize, origin: str = "") -> None:
    """Write a volume (Z, Y, X) of counts as an OME-TIFF."""
    _write(Path(path), counts, "ZYX", pixel_nm, origin)


def _write(path: Path, data: NDArray[Any], axes: str, pixel_nm: PixelSize, origin: str) -> None:
    metadata: dict[str, Any] = {"axes": axes, "Description": origin}
    for axis, size in zip("XYZ", pixel_nm, strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    if axes == "CYX":
        metadata["Channel"] = {"Name": list(PLANES)}
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, data, ome=True, photometric="minisblack", metadata=metadata)


def _read_npy(path: Path) -> tuple[NDArray[Any], PixelSize | None, str]:
    # Not np.load: it also takes archives and pickles for .npy files.
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False), None, ""
    except OSError:
        raise
    except Exception as error:
        raise StackError(f"{path}: not a readable .npy file ({error})") from error


def _read_tiff(path: Path) -> tuple[NDArray[Any], PixelSize | None, str]:
    try:
        with _complaints_are_errors(), tifffile.TiffFile(path) as file:
            data = file.asarray()
            pixel_nm, origin = _ome_facts(file.ome_metadata)
    except OSError:
        raise
    # A damaged TIFF can fail anywhere in the decoder, with any exception; all mean the same to the user.
    except Exception as error:
        raise StackError(f"{path}: not a readable TIFF file ({error})") from error
    return data, pixel_nm, origin


@contextmanager
def _complaints_are_errors() -> Iterator[None]:
    """Raise ``ValueError`` for what tifffile only logs as an error, such as pages that lie beyond a file's end.

    It would go on with the part of the picture that is left.
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
        raise ValueError(f"damaged or truncated: {' '.join(errors[0].split())[:100]}")


def _ome_facts(ome: str | None) -> tuple[PixelSize | None, str]:
    """Pixel sizes (x, y, z) in nm and the description from OME-XML; None where a size is missing."""
    if ome is None:
        return None, ""
    root = ElementTree.fromstring(ome)
    pixels = root.find(".//{*}Pixels")
    described = root.find(".//{*}Description")
    origin = SIMULATED if described is not None and (described.text or "").startswith(SIMULATED) else ""
    if pixels is None:
        return None, origin
    sizes = [
        float(pixels.get(f"PhysicalSize{axis}", "nan"))
        * NM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), np.nan)
        for axis in "XYZ"
    ]
    return (None if np.isnan(sizes).any() else (sizes[0], sizes[1], sizes[2])), origin


def _sections_of_volume(volume: NDArray[Any], pixel_nm: PixelSize, samples: int | None) -> NDArray[np.float64]:
    """The largest square sections around the brightest bead that fit the volume, ``samples`` at most.

    Their number of samples is odd: the planes then cross in the voxel that is the middle of each, as the forward
    model assumes. With an even number they cross half a pixel beside it.
    """
    if not volume.size:
        raise ValueError(f"the volume is empty: its shape is {volume.shape}")
    signal = np.clip(volume - np.quantile(volume, 0.1), 0, None)
    if not signal.any():
        raise ValueError("the volume is empty: every voxel has the same value")
    signal = _brightest_bead(signal, pixel_nm)
    indices = [np.arange(size) for size in volume.shape]
    center = [
        round(float((signal.sum(axis=tuple({0, 1, 2} - {axis})) * index).sum() / signal.sum()))
        for axis, index in enumerate(indices)
    ]
    room = [2 * min(position, size - 1 - position) + 1 for position, size in zip(center, volume.shape, strict=True)]
    fitting = min(*room, samples or min(room))
    fitting -= 1 - fitting % 2
    if fitting < 9:
        raise ValueError(
            f"the bead at voxel (z, y, x) = {tuple(center)} is too close to the end of the volume "
            f"{volume.shape} for sections of 9 pixels; image it nearer the middle"
        )
    return cut_sections(volume, (center[0], center[1], center[2]), fitting)


def _brightest_bead(signal: NDArray[np.float64], pixel_nm: PixelSize) -> NDArray[np.float64]:
    """The bright parts of the brightest bead in ``signal`` (Z, Y, X), zero elsewhere.

    Raises ``ValueError`` where another bead has more than half of its light.
    """
    smooth = ndimage.gaussian_filter(signal, 1.0)
    smooth[smooth < 0.3 * smooth.max()] = 0
    # Grown by half the gap to either side, the pieces of a donut touch.
    reach = [2 * round(gap / 2 / pixel) + 1 for gap, pixel in zip(JOINED_NM, pixel_nm, strict=True)]
    grown = ndimage.maximum_filter(smooth > 0, size=reach[::-1], mode="constant")
    labels, count = ndimage.label(grown)
    light = ndimage.sum_labels(smooth, labels, np.arange(1, count + 1))
    first, second = (*np.sort(light)[::-1], 0.0)[:2]
    if second > 0.5 * first:
        raise ValueError("two beads: crop the volume to one")
    smooth[labels != 1 + light.argmax()] = 0
    return smooth
