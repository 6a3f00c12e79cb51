"""Choosing in a file: by label, name and number; what cannot be meant is told with what is there."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from stedalign.formats.selection import Selection
from stedalign.formats.stack import load_sections, load_stack
from stedalign.formats.stored import StackError
from stedalign.imaging.images import FocalSection, OrthoSections

NM = (30.0, 30.0, 100.0)
FIVE = np.random.default_rng(0).poisson(20, (2, 9, 3, 16, 18)).astype(np.uint16)
SECTIONS = np.random.default_rng(1).poisson(20, (3, 16, 16)).astype(np.uint16)


@pytest.fixture
def five(tmp_path):
    """Two frames of nine planes in three channels, as Fiji orders them."""
    metadata = {"axes": "TZCYX", "unit": "um", "spacing": 0.1}
    tifffile.imwrite(tmp_path / "five.tif", FIVE, imagej=True, metadata=metadata, resolution=(1 / 0.03, 1 / 0.03))
    return tmp_path / "five.tif"


def taken(path, **choice):
    return load_stack(path, pixel_nm=NM, selection=Selection(**choice))


def test_a_frame_and_a_channel_leave_a_volume(five):
    z, y, x = np.indices((9, 16, 18))
    data = FIVE.copy()
    data[1, :, 2] = 500 * np.exp(-((z - 4) ** 2 + (y - 8) ** 2 + (x - 9) ** 2) / 6)
    tifffile.imwrite(five, data, imagej=True, metadata={"axes": "TZCYX"})
    found = taken(five, frame=1, channel=2)
    assert isinstance(found, OrthoSections)
    np.testing.assert_array_equal(found.data[0], data[1, 4, 2, 4:13, 5:14])


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({}, "choose one of 2 frames"),
        ({"frame": 0}, "choose one of 3 channels"),
        ({"frame": 2}, "frames (T) by --frame 0 to 1"),
        ({"frame": -1}, "frames (T) by --frame 0 to 1"),
        ({"frame": 0, "channel": 3}, "channels (C) by --channel 0 to 2"),
        ({"frame": 0, "channel": "red"}, "channels (C) by --channel 0 to 2"),
        ({"series": 1}, "there is no stack 1; the file holds 0"),
        ({"stack": "other"}, "there is no stack 'other'; the file holds 0"),
        ({"axes": "ZYX"}, "the axes ZYX do not fit the shape (2, 9, 3, 16, 18)"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(five, choice, words):
    with pytest.raises(StackError) as caught:
        taken(five, **choice)
    assert words in str(caught.value)


@pytest.mark.parametrize("axes", ["", "ZZYX", "ZQX", "I"])
def test_axes_that_are_none_are_refused(axes):
    with pytest.raises(StackError, match="different letters of Z, Y, X, T, C, S are expected"):
        Selection(axes=axes)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"frame": 1}, "there is no frame 1: the image has no axis of time"),
        ({"channel": 1}, "there is no channel 1: the image has one"),
        ({"axes": "sections"}, "three sections xy, xz, yz are expected"),
    ],
)
def test_a_choice_that_a_plane_does_not_have_is_never_ignored(tmp_path, choice, words):
    np.save(tmp_path / "a.npy", SECTIONS[0])
    with pytest.raises(StackError, match=words):
        taken(tmp_path / "a.npy", **choice)


def test_the_first_of_one_may_be_named(tmp_path):
    np.save(tmp_path / "a.npy", SECTIONS[0])
    assert isinstance(taken(tmp_path / "a.npy", frame=0, channel=0, series=0), FocalSection)


def test_axes_that_are_told_turn_the_image(tmp_path):
    np.save(tmp_path / "a.npy", SECTIONS[0])
    found = taken(tmp_path / "a.npy", axes="xy")
    np.testing.assert_array_equal(found.data, SECTIONS[0].T)
    assert taken(tmp_path / "a.npy", axes="ZX").view.parts == ("xz",)


def test_a_section_that_is_labeled_otherwise_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", SECTIONS[0])
    with pytest.raises(StackError, match="its axes are labeled zy, not zx as of xz"):
        load_sections({"xz": tmp_path / "a.npy"}, pixel_nm=NM, selection=Selection(axes="ZY"))


def test_a_file_may_have_the_mark_of_stacks_in_its_name(tmp_path):
    np.save(tmp_path / "a::b.npy", SECTIONS[0])
    assert isinstance(taken(tmp_path / "a::b.npy"), FocalSection)
