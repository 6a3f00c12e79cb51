"""Images that no estimate can be made from: one clear line, exit 2, nothing written."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile

from stedalign.formats.ome_tiff import save_volume

PIXEL = ("--pixel-nm", 30, 30, 30)
NOISE = np.random.default_rng(0).poisson(100, (3, 64, 64))


@pytest.fixture
def estimate(run):
    return lambda name, *options: run("estimate", name, "--no-network", "--out", "result", *options)


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    path = tmp_path / "bead.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["xy", "xz", "yz"]}}
    tifffile.imwrite(path, NOISE.astype(np.uint16), ome=True, photometric="minisblack", metadata=metadata)
    return path


@pytest.mark.parametrize("name", ["none.tif", "none.npy"])
def test_a_missing_file_is_named(estimate, name):
    estimate(name, *PIXEL).assert_refused(name, "no such file")


@pytest.mark.parametrize("name", ["folder", "folder.tif", "folder.npy"])
def test_a_folder_is_no_image(estimate, tmp_path, name):
    (tmp_path / name).mkdir()
    estimate(name, *PIXEL).assert_refused(name, "is a directory")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_tiff_is_refused(estimate, tmp_path, content):
    (tmp_path / "bead.tif").write_bytes(content)
    estimate("bead.tif", *PIXEL).assert_refused("bead.tif: not a readable TIFF file")


@pytest.mark.parametrize("kept", [4, 300, 5000, -1000])
def test_a_truncated_tiff_is_refused_and_its_reader_stays_silent(estimate, tiff, caplog, kept):
    tiff.write_bytes(tiff.read_bytes()[:kept])
    with caplog.at_level(logging.WARNING):
        estimate("bead.tif", *PIXEL).assert_refused("bead.tif: not a readable TIFF file")
    assert not caplog.records


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.99])
def test_a_truncated_ome_volume_is_never_read_in_part(estimate, tmp_path, share):
    save_volume(tmp_path / "bead.ome.tif", NOISE[:, :30, :30].repeat(7, axis=0).astype(np.uint16), (30.0, 30.0, 30.0))
    content = (tmp_path / "bead.ome.tif").read_bytes()
    (tmp_path / "bead.ome.tif").write_bytes(content[: int(share * len(content))])
    estimate("bead.ome.tif", *PIXEL).assert_refused("bead.ome.tif: not a readable TIFF file")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 an archive", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_what_is_no_npy_is_refused(estimate, tmp_path, content):
    (tmp_path / "bead.npy").write_bytes(content)
    estimate("bead.npy", *PIXEL).assert_refused("bead.npy: not a readable .npy file")


def test_a_truncated_npy_is_refused(estimate, tmp_path):
    np.save(tmp_path / "bead.npy", NOISE)
    (tmp_path / "bead.npy").write_bytes((tmp_path / "bead.npy").read_bytes()[:500])
    estimate("bead.npy", *PIXEL).assert_refused("bead.npy: not a readable .npy file")


def test_an_npy_that_promises_more_than_memory_is_refused(estimate, tmp_path):
    with (tmp_path / "bead.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (3, 2**27, 2**27)})
    estimate("bead.npy", *PIXEL).assert_refused("bead.npy: not a readable .npy file")


def test_a_pickle_in_an_npy_is_never_run(estimate, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "owned",)

    np.save(tmp_path / "bead.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    estimate("bead.npy", *PIXEL).assert_refused("bead.npy: real numbers are expected, got object")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((), "got the shape ()"),
        ((64,), "got the shape (64,)"),
        ((64, 7), "a section (Y, X) of at least 8 pixels each is expected, got the shape (64, 7)"),
        ((2, 3, 64, 64), "does not tell what its axes are, 2 x 3 x 64 x 64"),
        ((3, 64, 65), "three square sections (3, N, N) are expected, got the shape (3, 64, 65)"),
        ((3, 7, 7), "8 at least"),
        ((3, 0, 0), "8 at least"),
        ((0, 16, 16), "a volume (Z, Y, X) of at least 8 pixels is expected, got the shape (0, 16, 16)"),
    ],
)
def test_a_wrong_shape_is_named(estimate, tmp_path, shape, words):
    np.save(tmp_path / "bead.npy", np.ones(shape))
    estimate("bead.npy", *PIXEL).assert_refused("bead.npy", words)


@pytest.mark.parametrize("kind", ["complex128", "bool", "<U3"])
def test_values_that_are_no_counts_are_refused(estimate, tmp_path, kind):
    np.save(tmp_path / "bead.npy", np.ones((3, 16, 16)).astype(kind))
    estimate("bead.npy", *PIXEL).assert_refused("bead.npy: real numbers are expected")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(estimate, tmp_path, value):
    image = NOISE.astype(float)
    image[1, 5, 5] = value
    np.save(tmp_path / "bead.npy", image)
    estimate("bead.npy", *PIXEL).assert_refused("bead.npy: the image holds NaN or infinite values")


@pytest.mark.parametrize("value", [0, 7, -3])
def test_a_constant_image_is_called_empty(estimate, tmp_path, value):
    np.save(tmp_path / "bead.npy", np.full((3, 32, 32), value))
    estimate("bead.npy", *PIXEL).assert_refused("the image is empty")


def test_an_image_of_pure_noise_is_called_empty(estimate, tmp_path):
    np.save(tmp_path / "bead.npy", NOISE)
    estimate("bead.npy", *PIXEL).assert_refused("section is empty", "find the bead first")


def test_a_volume_of_one_value_is_called_empty(estimate, tmp_path):
    np.save(tmp_path / "bead.npy", np.ones((20, 20, 20)))
    estimate("bead.npy", *PIXEL).assert_refused("bead.npy: the volume is empty")


def test_a_bead_in_the_corner_of_a_volume_is_refused(estimate, tmp_path):
    volume = np.zeros((20, 20, 20))
    volume[:2, :2, :2] = 100
    np.save(tmp_path / "bead.npy", volume)
    estimate("bead.npy", *PIXEL).assert_refused("too close to the end of the volume", "nearer the middle")


def test_an_image_at_the_end_of_its_integers_is_called_saturated(estimate, tmp_path):
    image = NOISE.astype(np.uint8)
    image[:, 20:40, 20:40] = 255
    np.save(tmp_path / "bead.npy", image)
    estimate("bead.npy", *PIXEL).assert_refused("saturated", "1200 pixels at 255 counts", "lower the laser power")


def test_a_plateau_below_the_end_of_its_integers_is_called_saturated(estimate, tmp_path):
    """A 12-bit camera that saves 16 bits."""
    image = NOISE.astype(np.uint16)
    image[:, 20:40, 20:40] = 4095
    np.save(tmp_path / "bead.npy", image)
    estimate("bead.npy", *PIXEL).assert_refused("saturated", "4095")


def test_a_missing_pixel_size_says_how_to_give_it(estimate, tiff):
    estimate(tiff.name).assert_refused("does not tell its pixel sizes", "--pixel-nm X Y Z")


@pytest.mark.parametrize("size", ["0", "-30", "nan", "inf"])
def test_a_pixel_size_that_is_no_length_is_refused(estimate, tiff, size):
    estimate(tiff.name, "--pixel-nm", 30, size, 30).assert_refused("three positive lengths in nm")


def test_a_pixel_size_of_millimeters_is_refused_without_jargon(run, bench, simulated, tmp_path):
    outcome = run("estimate", bench / "bead.ome.tif", "--pixel-nm", "1e6", "1e6", "1e6", "--no-network")
    outcome.assert_refused("pixels of (1e+06, 1e+06, 1e+06) nm must lie between 1 and 1000 nm")
    assert "pydantic" not in outcome.err


@pytest.mark.parametrize("sizes", [("30", "30"), ("a", "b", "c"), ()])
def test_pixel_sizes_that_are_not_three_numbers_are_refused(run, tiff, sizes):
    run("estimate", tiff.name, "--pixel-nm", *sizes).assert_refused("--pixel-nm", "--help'")
