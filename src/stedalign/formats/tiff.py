"""TIFF as OME, ImageJ and others write it: what it tells of its axes and pixels, and no more than it says unpacked."""

from __future__ import annotations

import logging
import lzma
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.formats.facts import Facts
from stedalign.formats.lengths import in_nm
from stedalign.formats.ome_xml import MOST_PLANES, OmeImage, checked_ome, ome_facts, ome_images
from stedalign.formats.stored import UNTOLD, ImageStack, Stored, check_packing, readable
from stedalign.formats.xml_tree import check_xml

SUFFIXES = (".tif", ".tiff")
LARGEST_PIXEL_NM = 1e4
"""A resolution that makes pixels larger than this is one for printers, such as 72 dots per inch."""
RESOLUTION_UNITS: dict[int, str] = {tifffile.RESUNIT.CENTIMETER: "cm", tifffile.RESUNIT.INCH: "inch"}
UNPACKERS: dict[int, Callable[[], Any]] = {
    tifffile.COMPRESSION.ADOBE_DEFLATE: zlib.decompressobj,
    tifffile.COMPRESSION.DEFLATE: zlib.decompressobj,
    tifffile.COMPRESSION.LZMA: lzma.LZMADecompressor,
}
"""What can unpack step by step, for each compression that is read."""
BIG_TIFF = 43
STEP = 2**20
ROOM = 2**26
"""Bytes that an image may unpack to, however small it says to be: parts of a file have sizes of their own."""


def read(path: Path) -> Stored:
    """The images in a TIFF file, and what its metadata tell.

    Raises ``StackError`` where there is none or a part is missing, ``OSError`` where the file cannot be read.
    """
    with readable(path, "TIFF file"), _opened(path) as file:
        images, facts = _metadata(file, path)
        described = images if len(images) == len(file.series) else [None] * len(file.series)
        return Stored([_stack(path, file, at, image) for at, image in enumerate(described)], facts)


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """An open file whose pages do not go round in circles.

    What tifffile only logs and goes on with the part of the image that is left, such as pages that lie beyond a file's
    end, is an ``InputError``.
    """
    logger, complaints = logging.getLogger("tifffile"), BufferingHandler(100_000)
    logger.addHandler(complaints)
    propagate, logger.propagate = logger.propagate, False
    try:
        with tifffile.TiffFile(path) as file:
            _check_pages(file)
            yield file
    finally:
        logger.propagate = propagate
        logger.removeHandler(complaints)
    errors = [record.getMessage() for record in complaints.buffer if record.levelno >= logging.ERROR]
    if errors:
        raise InputError(f"damaged or truncated: {' '.join(errors[0].split())[:100]}")


def _check_pages(file: tifffile.TiffFile) -> None:
    """Raise ``InputError`` for a chain of pages that comes back to itself, or that is endless."""
    form, handle = file.tiff, file.filehandle
    seen: set[int] = set()
    handle.seek(8 if form.version == BIG_TIFF else 4)
    offset = struct.unpack(form.offsetformat, handle.read(form.offsetsize))[0]
    while offset:
        if offset in seen:
            raise InputError("its pages go round in a circle")
        if len(seen) == MOST_PLANES:
            raise InputError(f"it has more than {MOST_PLANES} pages")
        seen.add(offset)
        handle.seek(offset)
        head = handle.read(form.tagnosize)
        if len(head) < form.tagnosize:
            raise InputError("damaged or truncated: a page lies beyond the end of the file")
        handle.seek(offset + form.tagnosize + struct.unpack(form.tagnoformat, head)[0] * form.tagsize)
        following = handle.read(form.offsetsize)
        if len(following) < form.offsetsize:
            raise InputError("damaged or truncated: a page lies beyond the end of the file")
        offset = struct.unpack(form.offsetformat, following)[0]


def _metadata(file: tifffile.TiffFile, path: Path) -> tuple[list[OmeImage] | list[None], Facts]:
    """What OME-XML tells of each image and of the microscope, looked at before tifffile believes it."""
    check_xml(file.pages.first.description)
    if file.ome_metadata is None:
        return [], Facts()
    root = checked_ome(file.ome_metadata, path)
    return ome_images(root), ome_facts(root)


def _stack(path: Path, file: tifffile.TiffFile, at: int, image: OmeImage | None) -> ImageStack:
    series = file.series[at]
    missing = sum(page is None for page in series.pages)
    if missing:
        raise InputError(f"damaged or truncated: {missing} of its {len(series.pages)} planes are missing")
    axes = "".join(UNTOLD if axis == "I" else axis for axis in series.axes)
    stack = partial(ImageStack, axes, series.shape, series.dtype, partial(_pixels, path, at), series.name)
    if image is not None:
        return stack(image.pixel_nm, image.channels, image.simulated)
    return stack(_calibration(file, series.keyframe))


def _calibration(file: tifffile.TiffFile, page: tifffile.TiffPage) -> dict[str, float]:
    """Pixel sizes in nm as ImageJ writes them, or as the resolution of any TIFF, where it is that of a microscope."""
    imagej = file.imagej_metadata or {}
    unit = str(imagej.get("unit", "")) or RESOLUTION_UNITS.get(page.resolutionunit, "")
    sizes = {}
    for axis in "XY":
        pixels, lengths = page.tags.valueof(f"{axis}Resolution", default=(0, 1))
        size = in_nm(lengths / pixels, unit) if pixels and lengths else math.nan
        if size < LARGEST_PIXEL_NM:
            sizes[axis] = size
    if "unit" in imagej and "spacing" in imagej:
        sizes["Z"] = in_nm(float(imagej["spacing"]), unit)
    return sizes


def _pixels(path: Path, at: int) -> NDArray[Any]:
    with readable(path, "TIFF file"), _opened(path) as file:
        series = file.series[at]
        _check_unpacked(series)
        return series.asarray()


def _check_unpacked(series: tifffile.TiffPageSeries) -> None:
    """Raise ``InputError`` where a compressed image unpacks to far more than its size says, or cannot be told to."""
    compression = series.keyframe.compression
    if compression == tifffile.COMPRESSION.NONE:
        return
    if compression not in UNPACKERS:
        name = tifffile.COMPRESSION(compression).name
        raise InputError(f"the compression {name} is not read: save it uncompressed or with deflate")
    check_packing(series.nbytes, sum(sum(page.databytecounts) for page in series.pages if page is not None))
    room = max(4 * series.nbytes, ROOM)
    for page in series.pages:
        assert page is not None
        handle = page.parent.filehandle
        # One image may be spread over several files, of which tifffile keeps one open.
        was_closed = handle.closed
        if was_closed:
            handle.open()
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            handle.seek(offset)
            for length in _unpacked(UNPACKERS[compression](), handle.read(count)):
                room -= length
                if room < 0:
                    raise InputError(f"it unpacks to far more than the {series.nbytes} bytes that it tells of")
        if was_closed:
            handle.close()


def _unpacked(unpacker: Any, packed: bytes) -> Iterator[int]:
    """The lengths of the pieces that ``packed`` unpacks to."""
    while not unpacker.eof:
        length = len(unpacker.decompress(packed, STEP))
        yield length
        # zlib hands back what it has not looked at, lzma keeps it.
        packed = getattr(unpacker, "unconsumed_tail", b"")
        if not length and not packed:
            return
