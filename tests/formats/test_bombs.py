"""Files that lie about their size, or were made to fill a memory: each is one line, within 2 s and 500 MB."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from obf_file import Stack, write_obf

from stedalign.formats.ome_xml import MOST_PLANES

SIXTEEN = np.random.default_rng(0).poisson(20, (16, 16)).astype(np.uint16)
VOLUME = np.stack([SIXTEEN] * 9)
MEMORY, SECONDS = 500 * 2**20, 2.0
LAUGHS = "".join(f'<!ENTITY a{at} "{f"&a{at - 1};" * 10}">' for at in range(1, 10))


def npy(shape: tuple[int, ...], kind: str = "<f8", length: int = 0) -> Callable[[Path], None]:
    """A header, and behind it as many bytes as are said, none of which is on the disk."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            header = {"descr": kind, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + length)

    return write


def saved(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, array)


def tiff(data: np.ndarray = VOLUME, patches: dict[str, int] | None = None, **options: object) -> Callable[[Path], None]:
    """A TIFF, some of whose tags are written over."""

    def write(path: Path) -> None:
        tifffile.imwrite(
            path, data, **{"photometric": "minisblack", "metadata": {"axes": "ZYX"[-data.ndim :]}, **options}
        )
        with tifffile.TiffFile(path, mode="r+") as file:
            for name, value in (patches or {}).items():
                file.pages.first.tags[name].overwrite(value)

    return write


def ome(change: str, into: str, data: np.ndarray = VOLUME) -> Callable[[Path], None]:
    """An OME-TIFF with another word in its XML."""

    def write(path: Path) -> None:
        sizes = {f"PhysicalSize{axis}": 0.03 for axis in "XYZ"}
        tifffile.imwrite(path, data, ome=True, metadata={"axes": "ZYX", **sizes})
        with tifffile.TiffFile(path) as file:
            text = file.ome_metadata
        assert change in text
        description = text.replace(change, into, 1)
        tifffile.imwrite(path, data, description=description.encode(), metadata=None, photometric="minisblack")

    return write


def small_that_unpacks_to_much(path: Path) -> None:
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(128)) + packer.flush()
    tifffile.imwrite(path, SIXTEEN, compression="zlib", metadata=None, photometric="minisblack")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["StripOffsets"].overwrite(len(content))
        file.pages.first.tags["StripByteCounts"].overwrite(len(packed))
    with path.open("ab") as file:
        file.write(packed)


def pages(count: int, *, last: int = 0) -> Callable[[Path], None]:
    """Empty pages, the last of which is followed by what is said."""

    def write(path: Path) -> None:
        following = [8 + 6 * at for at in range(1, count)] + [last]
        path.write_bytes(b"II*\0\x08\0\0\0" + b"".join(struct.pack("<HI", 0, offset) for offset in following))

    return write


def obf(**lies: object) -> Callable[[Path], None]:
    return lambda path: write_obf(path, Stack(SIXTEEN, ("ExpControl Y", "ExpControl X"), (30.0, 30.0), "Ch1", **lies))


SIDES = ("ImageWidth", "ImageLength", "RowsPerStrip")
TOO_MANY = r"pixels .* at most 268435456"
BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "deflate of gigabytes.tif": (
        tiff(SIXTEEN, dict.fromkeys(SIDES, 40_000), compression="zlib", metadata=None),
        TOO_MANY,
    ),
    "small but unpacks.tif": (small_that_unpacks_to_much, "it unpacks to far more than the 512 bytes"),
    "deflate of as much as may be.tif": (
        lambda path: tifffile.imwrite(
            path, np.zeros((2**13, 2**13 + 1), np.uint8), compression="zlib", rowsperstrip=2**13
        ),
        "which no recording does",
    ),
    "sparse, of as much as may be.npy": (npy((2**14, 2**14), "|u1", 2**28), "the image is empty"),
    "BigTIFF of exabytes.tif": (
        tiff(SIXTEEN, dict.fromkeys(SIDES, 2**30), bigtiff=True, metadata=None),
        TOO_MANY,
    ),
    "circle.tif": (pages(300, last=8 + 6 * 200), "go round in a circle"),
    "endless.tif": (pages(MOST_PLANES + 9), "more than 65536 pages"),
    "page beyond the end.tif": (pages(2, last=10**8), "damaged or truncated"),
    "packed otherwise.tif": (tiff(SIXTEEN, {"Compression": 5}), "the compression LZW is not read"),
    "ImageJ of a billion.tif": (
        tiff(metadata=None, description="ImageJ=1.54f\nimages=1000000000\nslices=1000000000\n"),
        "ImageJ series metadata invalid",
    ),
    "laughs.ome.tif": (
        ome('<?xml version="1.0" encoding="UTF-8"?>', f'<!DOCTYPE l [<!ENTITY a0 "ha">{LAUGHS}]>'),
        "defines entities",
    ),
    "more planes than there are.ome.tif": (ome('SizeZ="9"', 'SizeZ="99"'), "planes are missing"),
    "a billion planes.ome.tif": (ome('SizeZ="9"', 'SizeZ="1000000000"'), r"tell of 1e\+09 planes"),
    "a plane far away.ome.tif": (ome("<TiffData ", '<TiffData FirstT="1000000000" '), r"tell of 1e\+09 planes"),
    "planes in a device.ome.tif": (
        ome(
            '<TiffData IFD="0" PlaneCount="9"/>',
            '<TiffData IFD="0" PlaneCount="9"><UUID FileName="/dev/zero">urn:uuid:0</UUID></TiffData>',
        ),
        "is no file beside it",
    ),
    "negative sizes.ome.tif": (ome('PhysicalSizeX="0.03"', 'PhysicalSizeX="-0.03"'), "three positive lengths"),
    "sizes of zero.ome.tif": (ome('PhysicalSizeY="0.03"', 'PhysicalSizeY="0"'), "three positive lengths"),
    "endless sizes.ome.tif": (ome('PhysicalSizeY="0.03"', 'PhysicalSizeY="inf"'), "three positive lengths"),
    "micrometers for nm.ome.tif": (
        ome('PhysicalSizeX="0.03"', 'PhysicalSizeX="0.03" PhysicalSizeXUnit="nm"'),
        "look like micrometers",
    ),
    "sparse.npy": (npy((10**5, 10**6), "|u1", 10**11), TOO_MANY),
    "header that lies.npy": (npy((10**5, 10**6)), "its header promises"),
    "negative shape.npy": (npy((-1, 16, 16)), "not a readable .npy file"),
    "objects.npy": (npy((16, 16), "|O", 10**6), "real numbers are expected, got object"),
    "complex.npy": (saved(SIXTEEN.astype(complex)), "real numbers are expected"),
    "truth.npy": (saved(SIXTEEN > 20), "real numbers are expected"),
    "not a number.npy": (saved(np.where(SIXTEEN > 20, np.nan, 1.0)), "NaN or infinite"),
    "five axes.npy": (
        saved(np.ones((2, 2, 9, 16, 16), np.uint8)),
        "does not tell what its axes are, 2 x 2 x 9 x 16 x 16",
    ),
    "no planes.npy": (saved(np.ones((0, 16, 16), np.uint8)), r"got the shape \(0, 16, 16\)"),
    "one pixel.npy": (saved(np.ones((1, 1, 1), np.uint8)), r"got the shape \(\)"),
    "device.tif": (lambda path: path.symlink_to("/dev/zero"), "not a file but a device"),
    "pipe.npy": (lambda path: os.mkfifo(path), "not a file but a device or a pipe"),
    "folder.tif": (lambda path: path.mkdir(), "is a directory"),
    "sizes that lie.obf": (obf(shape=(2**20, 2**20)), f"{TOO_MANY}|stedalign.imspector"),
    "unpacks.obf": (obf(packed=zlib.compress(bytes(2**26))), r"cannot be true|more than|stedalign.imspector"),
    "keys.toml": (
        lambda path: path.write_text("".join(f"k{at} = 1\n" for at in range(2_000_000))),
        "at most 1048576 are read",
    ),
    "device.toml": (lambda path: path.symlink_to("/dev/zero"), "not a file but a device"),
    "huge.json": (lambda path: path.write_text(f'{{"modes": [{"[2, 2], " * 12_000_000}[2, 2]]}}'), "at most 1048576"),
    "pipe.mask": (lambda path: os.mkfifo(path), "not a file but a device"),
    "sparse.mask": (npy((10**4, 10**4), "<f8", 8 * 10**10), "are read"),
}
"""How each is written, and what is said of it."""
JUDGE = """
import json, os, resource, sys, time
from pathlib import Path
from stedalign.cli.options import read_wavefront
from stedalign.config import Setup
from stedalign.errors import InputError
from stedalign.formats.stack import load_stack, readers
from stedalign.optics.pupil_maps import fingerprint

def judged(path):
    if path.suffix == ".npy":
        return load_stack(path, pixel_nm=(30.0, 30.0, 100.0))
    jobs = {".toml": Setup.load, ".json": read_wavefront, ".mask": lambda path: fingerprint(str(path))}
    return jobs.get(path.suffix, load_stack)(path)

readers()
memory = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
results = {}
for path in map(Path, sys.argv[2:]):
    back, out = os.pipe()
    if not os.fork():
        resource.setrlimit(resource.RLIMIT_AS, (memory + int(sys.argv[1]),) * 2)
        begin = time.monotonic()
        try:
            judged(path)
            said = "taken"
        except InputError as error:
            said = f"InputError: {error}"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(out, json.dumps([time.monotonic() - begin, said[:2000]]).encode())
        os._exit(0)
    os.close(out)
    with os.fdopen(back) as answer:
        results[path.name] = json.loads(answer.read() or '[0, "killed"]')
    os.wait()
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, str]]:
    """Seconds and words for each bomb, one process each, which gets ``MEMORY`` more than the program itself has."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, (write, _) in BOMBS.items():
        write(folder / name)
    files = [str(folder / name) for name in BOMBS]
    command = [sys.executable, "-W", "ignore", "-c", JUDGE, str(MEMORY), *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    for name in BOMBS:
        if (folder / name).is_file():
            (folder / name).unlink()
    return {name: (seconds, said) for name, (seconds, said) in json.loads(done.stdout).items()}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit of memory is that of Linux")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_line_within_two_seconds_and_500_mb(judged, name):
    seconds, said = judged[name]
    assert said.startswith("InputError: "), said
    assert re.search(BOMBS[name][1], said), said
    assert "\n" not in said
    assert seconds < SECONDS
