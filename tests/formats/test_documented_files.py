"""What others write, as docs/data_formats.md says: each row of its table, made and read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from obf_file import Stack, write_obf

from stedalign.formats.ome_tiff import save_sections, save_volume
from stedalign.formats.selection import Selection
from stedalign.formats.stack import load_stack
from stedalign.formats.stored import StackError
from stedalign.imaging.bead_in_volume import sections_through_bead
from stedalign.imaging.images import FocalSection, Image, OrthoSections, Sections, Volume

TABLE = Path(__file__).parents[2] / "docs" / "data_formats.md"
NM = (30.0, 30.0, 100.0)
RNG = np.random.default_rng(0)
Z, Y, X = np.indices((13, 16, 18))
VOLUME = np.round(900 * np.exp(-((Z - 6) ** 2 + (Y - 8) ** 2 + (X - 9) ** 2) / 12)).astype(np.uint16)
PLANE = VOLUME[6]
SECTIONS = RNG.poisson(20, (3, 16, 16)).astype(np.uint16)
ASK_AXES, ASK_PIXELS = "does not tell what its axes are", "does not tell its pixel sizes"
RESOLUTION = {"resolution": (1 / 0.03, 1 / 0.03)}
MICRONS = {"unit": "um", "spacing": 0.1}
FIJI = "ImageJ=1.54f\nimages={}\n{}unit=\\u00B5m\nspacing=0.1\nloop=false\n"


@dataclass(frozen=True)
class Row:
    """One row: how such a file is made, what is asked for, and what comes of it once that is told."""

    write: Callable[[Path], Any]
    comes: type[Image]
    asked: str = ""
    """What the refusal says without ``choice`` and ``pixel_nm``; empty where nothing is asked for."""
    choice: dict[str, Any] = field(default_factory=dict)
    pixel_nm: tuple[float, float, float] | None = None
    suffix: str = ".tif"


def ome(data: np.ndarray, axes: str, unit: str = "µm", scale: float = 1e-3, **more: Any) -> Callable[[Path], Any]:
    metadata: dict[str, Any] = {"axes": axes, **more}
    for axis, nm in zip("XYZ", NM, strict=True):
        if axis in axes:
            metadata |= {f"PhysicalSize{axis}": nm * scale, f"PhysicalSize{axis}Unit": unit}
    return lambda path: tifffile.imwrite(path, data, ome=True, photometric="minisblack", metadata=metadata)


def plain(data: np.ndarray, **options: Any) -> Callable[[Path], Any]:
    return lambda path: tifffile.imwrite(path, data, **{"photometric": "minisblack", **options})


def fiji(data: np.ndarray, dimensions: str) -> Callable[[Path], Any]:
    """As Fiji saves it: pages, and a description of its own."""
    pages = int(np.prod(data.shape[:-2]))
    return plain(data, metadata=None, description=FIJI.format(pages, dimensions), **RESOLUTION)


def imspector(*stacks: tuple[str, str, np.ndarray]) -> Callable[[Path], Any]:
    return lambda path: write_obf(
        path,
        *(
            Stack(
                data, [f"ExpControl {axis}" for axis in axes], [30.0 if axis != "Z" else 100.0 for axis in axes], name
            )
            for name, axes, data in stacks
        ),
    )


def two_ome_images(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as file:
        for name, data in (("first", SECTIONS[1]), ("second", PLANE)):
            sizes = {f"PhysicalSize{axis}": 0.03 for axis in "XY"}
            file.write(data, photometric="minisblack", metadata={"axes": "YX", "Name": name, **sizes})


CHANNELS = np.stack([VOLUME // 2, VOLUME], axis=0)
ROWS = {
    "stedalign: sections": Row(lambda path: save_sections(path, OrthoSections(SECTIONS, NM)), OrthoSections),
    "stedalign: volume": Row(lambda path: save_volume(path, VOLUME, NM), OrthoSections),
    "NumPy: array (Y, X)": Row(lambda path: np.save(path, PLANE), FocalSection, ASK_PIXELS, {}, NM, ".npy"),
    "NumPy: array (3, N, N)": Row(lambda path: np.save(path, SECTIONS), OrthoSections, ASK_PIXELS, {}, NM, ".npy"),
    "NumPy: array (Z, Y, X)": Row(lambda path: np.save(path, VOLUME), OrthoSections, ASK_PIXELS, {}, NM, ".npy"),
    "tifffile: imwrite(section)": Row(plain(PLANE), FocalSection, ASK_PIXELS, {}, NM),
    "tifffile: imwrite(volume)": Row(plain(VOLUME), OrthoSections, ASK_AXES, {"axes": "ZYX"}, NM),
    "tifffile: imwrite(sections)": Row(plain(SECTIONS), OrthoSections, ASK_AXES, {"axes": "sections"}, NM),
    "tifffile: imwrite(volume, metadata={'axes': 'ZYX'})": Row(
        plain(VOLUME, metadata={"axes": "ZYX"}), OrthoSections, ASK_PIXELS, {}, NM
    ),
    "tifffile: imwrite(..., ome=True)": Row(ome(VOLUME, "ZYX"), OrthoSections),
    "tifffile: imwrite(..., imagej=True)": Row(
        plain(VOLUME, imagej=True, metadata={"axes": "ZYX", **MICRONS}, **RESOLUTION), OrthoSections
    ),
    "napari: Save Selected Layer, a volume": Row(
        plain(VOLUME, compression="zlib"), OrthoSections, ASK_AXES, {"axes": "ZYX"}, NM
    ),
    "Fiji: z stack": Row(fiji(VOLUME, "slices=13\n"), OrthoSections),
    "Fiji: stack without dimensions": Row(fiji(VOLUME, ""), OrthoSections, ASK_AXES, {"axes": "ZYX"}),
    "Fiji: time series": Row(
        fiji(VOLUME, "frames=13\nhyperstack=true\n"), FocalSection, "13 frames (T) by --frame 0 to 12", {"frame": 6}
    ),
    "Fiji: time series that is a z stack": Row(
        fiji(VOLUME, "frames=13\nhyperstack=true\n"), OrthoSections, "say it with --axes", {"axes": "ZYX"}
    ),
    "Fiji: channels and z": Row(
        fiji(CHANNELS.swapaxes(0, 1), "channels=2\nslices=13\nhyperstack=true\nmode=grayscale\n"),
        OrthoSections,
        "2 channels (C) by --channel 0 to 1",
        {"channel": 1},
    ),
    "Fiji: RGB": Row(
        plain(np.stack([PLANE] * 3, axis=-1).astype(np.uint8), photometric="rgb"),
        FocalSection,
        "3 colors (S) by --channel 0 to 2",
        {"channel": 0},
        NM,
    ),
    "Fiji: scale not set": Row(
        plain(VOLUME, metadata=None, description="ImageJ=1.54f\nimages=13\nslices=13\n"),
        OrthoSections,
        ASK_PIXELS,
        {},
        NM,
    ),
    "OME-TIFF: channels": Row(
        ome(CHANNELS, "CZYX", Channel={"Name": ["excitation", "depletion"]}),
        OrthoSections,
        'choose one of 2 channels (C): 0 "excitation", 1 "depletion"',
        {"channel": "depletion"},
    ),
    "OME-TIFF: time": Row(ome(np.stack([VOLUME // 2, VOLUME]), "TZYX"), OrthoSections, "2 frames (T)", {"frame": 1}),
    "OME-TIFF: several images": Row(
        two_ome_images, FocalSection, '0 "first" YX 16 x 16, 1 "second" YX 16 x 18', {"stack": "second"}
    ),
    "OME-TIFF: sizes in nm, m, Å": Row(ome(VOLUME, "ZYX", "m", 1e-9), OrthoSections),
    "OME-TIFF: no sizes": Row(plain(VOLUME, ome=True, metadata={"axes": "ZYX"}), OrthoSections, ASK_PIXELS, {}, NM),
    "TIFF: resolution per cm or inch": Row(
        plain(PLANE, resolution=(1e7 / 30, 1e7 / 30), resolutionunit="CENTIMETER"), FocalSection
    ),
    "TIFF: 72 dots per inch": Row(
        plain(PLANE, resolution=(72, 72), resolutionunit="INCH"), FocalSection, ASK_PIXELS, {}, NM
    ),
    "BigTIFF": Row(plain(VOLUME, bigtiff=True, metadata={"axes": "ZYX"}), OrthoSections, ASK_PIXELS, {}, NM),
    "Imspector: one stack": Row(imspector(("Ch1 {0}", "ZYX", VOLUME)), OrthoSections, suffix=".msr"),
    "Imspector: xy, xz and yz of one channel": Row(
        imspector(("Ch1 {1}", "YX", PLANE), ("Ch1 {13}", "ZX", VOLUME[:, 8]), ("Ch1 {15}", "ZY", VOLUME[:, :, 9])),
        Sections,
        suffix=".msr",
    ),
    "Imspector: two channels": Row(
        imspector(*((f"ExpControl Ch{n} {{1}}", "YX", PLANE // (3 - n)) for n in (1, 2))),
        FocalSection,
        '0 "ExpControl Ch1 {1}" YX 16 x 18',
        {"channel": "Ch2"},
        suffix=".obf",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_file_comes_as_the_table_says(tmp_path, name):
    row = ROWS[name]
    if row.suffix in (".msr", ".obf"):
        pytest.importorskip("obffile")
    path = tmp_path / f"bead{row.suffix}"
    row.write(path)
    if row.asked:
        with pytest.raises(StackError, match=re.escape(row.asked)):
            load_stack(path)
    found = load_stack(path, pixel_nm=row.pixel_nm, selection=Selection(**row.choice))
    assert type(found) is row.comes
    shown = {axis: (size, truth) for axis, size, truth in zip("xyz", found.pixel_nm, NM, strict=True)}
    for size, truth in (shown[axis] for axis in found.view.axes):
        assert size == pytest.approx(truth, rel=1e-4)
    np.testing.assert_array_equal(found.counts[0], expected(name, row))


def expected(name: str, row: Row) -> np.ndarray:
    """The xy section that comes of each row."""
    if "sections" in name or "(3, N, N)" in name:
        return SECTIONS[0]
    if row.comes is OrthoSections:
        return sections_through_bead(Volume(VOLUME, NM))[0].data[0]
    return PLANE.astype(np.uint8) if name == "Fiji: RGB" else PLANE


def test_every_row_of_the_table_is_tested_and_every_test_is_a_row():
    lines = TABLE.read_text(encoding="utf-8").partition("## What others write")[2].splitlines()
    rows = [line.split("|")[1].strip().replace("`", "") for line in lines if line.startswith("| ")]
    assert sorted(set(rows) - {"written by"}) == sorted(ROWS)
