"""Sections of any size on one lattice of pixels."""

import numpy as np
import pytest

from stedalign.imaging.images import Plane, Sections

PIXEL = (30.0, 30.0)


def plane(rows, columns, pixel_nm=PIXEL):
    return Plane(np.arange(rows * columns, dtype=float).reshape(rows, columns), pixel_nm)


def test_sections_of_one_size_are_taken_as_they_are():
    planes = {name: plane(12, 16) for name in ("yz", "xy")}
    image = Sections.of(planes, saturation=900.0)
    assert image.parts == ("xy", "yz")
    assert image.margins == ((0, 0), (0, 0))
    assert image.saturation == 900
    np.testing.assert_array_equal(image.data, np.stack([planes["xy"].data] * 2))
    assert image.view.shape == (12, 16)


@pytest.mark.parametrize(("rows", "columns"), [(20, 16), (19, 16), (20, 15), (9, 9), (20, 8)])
def test_a_smaller_section_comes_to_lie_in_the_middle(rows, columns):
    small = plane(rows, columns)
    image = Sections.of({"xy": plane(20, 16), "xz": small})
    above, beside = image.margins[1]
    assert image.data.shape == (2, 20, 16)
    kept = image.data[1, above : 20 - above, beside : 16 - beside]
    # A row or a column is cut off where it has no middle otherwise.
    assert (rows - kept.shape[0], columns - kept.shape[1]) == ((20 - rows) % 2, (16 - columns) % 2)
    np.testing.assert_array_equal(kept, small.data[: kept.shape[0], : kept.shape[1]])


def test_pixel_sizes_belong_to_the_axes_of_each_section():
    image = Sections.of({"xz": plane(10, 12, (90.0, 30.0)), "yz": plane(10, 12, (90.0, 40.0))})
    assert image.pixel_nm == (30.0, 40.0, 90.0)
    assert image.view.axes == "xyz"


def test_pixels_may_differ_by_rounding():
    assert Sections.of({"xy": plane(9, 9), "xz": plane(9, 9, (90.0, 30.2))}).pixel_nm[0] == 30.0


def test_each_section_may_have_pixels_of_its_own():
    view = Sections.of({"xy": plane(9, 9), "xz": plane(9, 9, (90.0, 31.0))}).view
    assert view.pixel_of("xy") == {"y": 30.0, "x": 30.0}
    assert view.pixel_of("xz") == {"z": 90.0, "x": 31.0}
    assert [line.positions_nm[-1] for line in view.targets()[1].axes] == [4 * 90.0, 4 * 31.0]
    assert view.half_width_nm("x") == 4.5 * 31.0


@pytest.mark.parametrize(("planes", "said"), [({}, "none"), ({"zx": plane(9, 9)}, "zx")])
def test_other_sections_are_refused_by_name(planes, said):
    with pytest.raises(ValueError, match=f"xy, xz or yz are expected, got {said}"):
        Sections.of(planes)


@pytest.mark.parametrize("data", [np.zeros((7, 20)), np.zeros((20, 7)), np.zeros((3, 20, 20)), np.zeros(20)])
def test_a_section_that_is_too_small_or_none_is_refused_by_name(data):
    with pytest.raises(ValueError, match="yz: a section of at least 8 pixels"):
        Sections.of({"xy": plane(9, 9), "yz": Plane(data, PIXEL)})
