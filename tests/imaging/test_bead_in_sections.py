import numpy as np
import pytest

from stedalign.errors import InputError
from stedalign.imaging.bead_in_sections import around_bead_in, square_around_bead
from stedalign.imaging.bead_in_volume import FIELD_NM
from stedalign.imaging.images import AXES_OF, OrthoSections, Plane

PIXEL = 20.0


def blob(name, shape, at_nm):
    """A bead of 150 nm, less along z, whose place (x, y, z) counts from the middle of the section."""
    rows, columns = (
        (np.arange(count) - (count - 1) / 2) * PIXEL - at_nm["xyz".index(axis)]
        for axis, count in zip(AXES_OF[name], shape, strict=True)
    )
    counts = 500 * np.exp(-(rows[:, None] ** 2 + columns**2) / 2 / 150**2) + 5
    return Plane(np.random.default_rng(0).poisson(counts).astype(float), (PIXEL, PIXEL))


def bead_nm(plane):
    """Where its light lies from the middle, along rows and columns."""
    light = np.where(plane.data > 100, plane.data, 0)
    return [
        float(light.sum(axis=1 - side) @ (np.arange(count) - (count - 1) / 2) / light.sum() * PIXEL)
        for side, count in enumerate(light.shape)
    ]


AT = 800.0, -1500.0, 400.0


def test_large_sections_of_any_size_have_one_middle_the_bead_afterwards():
    sections = {"xy": blob("xy", (400, 300), AT), "xz": blob("xz", (240, 300), AT), "yz": blob("yz", (201, 400), AT)}
    kept = around_bead_in(sections)
    for name, plane in kept.items():
        assert np.abs(bead_nm(plane)).max() < PIXEL, name
        for axis, count in zip(AXES_OF[name], plane.data.shape, strict=True):
            assert count % 8 == 0
            assert 0.9 * FIELD_NM[axis] < count * PIXEL <= FIELD_NM[axis]


def test_an_axis_that_is_short_enough_keeps_its_middle():
    at = 900.0, 0.0, 300.0
    kept = around_bead_in({"xz": blob("xz", (120, 400), at)})["xz"]
    assert kept.data.shape == (120, 120)
    assert bead_nm(kept) == pytest.approx([300.0, 0.0], abs=PIXEL)


@pytest.mark.parametrize(("shape", "kept"), [((64, 51), (64, 51)), ((101, 75), (96, 72))])
def test_only_longer_sides_come_in_multiples_of_eight(shape, kept):
    section = blob("xy", shape, (0.0, 0.0, 0.0))
    assert around_bead_in({"xy": section})["xy"].data.shape == kept


def test_a_hot_pixel_or_a_junk_line_is_no_bead():
    section = blob("xy", (400, 400), AT)
    flawed = section.data.copy()
    flawed[20, 30] = 1e5
    flawed[0] = 3e4
    found, wanted = (around_bead_in({"xy": section._replace(data=data)})["xy"].data for data in (flawed, section.data))
    np.testing.assert_array_equal(found, wanted)


def test_two_beads_in_a_large_section_are_refused():
    section = blob("xy", (400, 400), AT)
    both = section._replace(data=section.data + blob("xy", (400, 400), (-1500.0, 800.0, 0.0)).data)
    with pytest.raises(InputError, match="two beads: crop the xy section to one"):
        around_bead_in({"xy": both})


def test_a_bead_at_the_edge_of_a_large_section_is_refused():
    with pytest.raises(InputError, match="too close to the end of the xy section"):
        around_bead_in({"xy": blob("xy", (400, 400), (4150.0, 0.0, 0.0))})


def test_three_square_sections_stay_square_and_cross_in_the_bead():
    at = 500.0, -600.0, 700.0
    sections = [blob(name, (400, 400), at).data for name in ("xy", "xz", "yz")]
    kept = square_around_bead(OrthoSections(np.stack(sections), (PIXEL,) * 3, saturation=9e9, simulated=True))
    assert kept.data.shape == (3, 160, 160)
    assert (kept.saturation, kept.simulated) == (9e9, True)
    for part in kept.data:
        assert np.abs(bead_nm(Plane(part, (PIXEL, PIXEL)))).max() < PIXEL
