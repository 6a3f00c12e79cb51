"""Promises of the mask files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from stedalign.instrument.mask_files import levels_hash, read_mask, sidecar_path, write_mask
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.default()
LEVELS = np.random.default_rng(0).integers(0, 256, size=(60, 79), dtype=np.uint8)
FACTS = {"correction": Wavefront(MODES, (0.01,) * 11), "wavelength_nm": 775.0, "levels_per_2pi": 217.5}


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".BMP"])
def test_levels_come_back_bit_by_bit(tmp_path, suffix):
    path = tmp_path / f"mask{suffix}"
    write_mask(path, LEVELS, **FACTS)
    assert np.array_equal(read_mask(path), LEVELS)


def test_the_image_is_8_bit_gray(tmp_path):
    write_mask(tmp_path / "mask.bmp", LEVELS, **FACTS)
    with Image.open(tmp_path / "mask.bmp") as image:
        assert (image.mode, image.format, image.size) == ("L", "BMP", (79, 60))


def test_the_sidecar_says_what_the_mask_is(tmp_path):
    sidecar = write_mask(tmp_path / "mask.bmp", LEVELS, **FACTS)
    found = json.loads(sidecar.read_text())
    assert Wavefront.from_json(found) == FACTS["correction"]
    assert found["sign"] == "added to the pupil phase"
    assert (found["wavelength_nm"], found["levels_per_2pi"]) == (775.0, 217.5)
    assert found["sha256"] == levels_hash(LEVELS)


def test_nothing_else_stays_in_the_folder(tmp_path):
    write_mask(tmp_path / "mask.bmp", LEVELS, **FACTS)
    assert {path.name for path in tmp_path.iterdir()} == {"mask.bmp", "mask.json"}


def test_a_failed_write_leaves_the_old_mask(tmp_path, monkeypatch):
    path = tmp_path / "mask.bmp"
    write_mask(path, LEVELS, **FACTS)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_mask(path, LEVELS[::-1].copy(), **FACTS)
    monkeypatch.undo()
    assert np.array_equal(read_mask(path), LEVELS)
    assert {entry.name for entry in tmp_path.iterdir()} == {"mask.bmp", "mask.json"}


def test_a_mask_that_its_sidecar_does_not_describe_is_refused(tmp_path):
    path = tmp_path / "mask.bmp"
    write_mask(path, LEVELS, **FACTS)
    Image.fromarray(255 - LEVELS).save(path)
    with pytest.raises(ValueError, match="SHA-256"):
        read_mask(path)


def test_a_color_image_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="not an 8-bit gray image"):
        read_mask(tmp_path / "mask.png")


def test_a_file_that_is_no_image_is_refused(tmp_path):
    (tmp_path / "mask.bmp").write_bytes(b"not an image")
    with pytest.raises(ValueError, match="not a readable image"):
        read_mask(tmp_path / "mask.bmp")
    assert not sidecar_path(tmp_path / "mask.bmp").exists()


@pytest.mark.parametrize("name", ["mask.jpg", "mask"])
def test_other_formats_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.bmp or \.png"):
        write_mask(tmp_path / name, LEVELS, **FACTS)


def test_levels_that_are_not_uint8_are_refused(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        write_mask(tmp_path / "mask.bmp", LEVELS.astype(float), **FACTS)
