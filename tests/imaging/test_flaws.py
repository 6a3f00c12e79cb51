"""Lines and pixels that say nothing of the light: they are found, and nothing else is."""

import numpy as np
import pytest

from stedalign.imaging.flaws import find_flaws
from stedalign.imaging.images import PLANES, FocalSection, OrthoSections, Plane, Sections, Volume

NM = (60.0, 60.0, 60.0)


def exposed(light, photons, seed=0):
    return np.random.default_rng(seed).poisson(photons * light).astype(float)


def left_out(counts):
    """The pixels (parts, ...) that are left out of three sections."""
    return find_flaws(OrthoSections(counts, NM)).weight == 0


@pytest.fixture(scope="module")
def image(foci):
    return exposed(foci(1, samples=64, pixel_nm=30.0)[0], 350)


@pytest.mark.parametrize("strength_waves", [0.02, 0.08, 0.2])
@pytest.mark.parametrize(
    ("samples", "pixel_nm"),
    [(8, 60.0), (12, 80.0), (16, 60.0), (16, 110.0), (24, 30.0), (32, 60.0), (64, 15.0), (100, 20.0)],
)
def test_a_good_image_has_no_flaws(foci, samples, pixel_nm, strength_waves):
    for seed, light in enumerate(foci(12, samples, pixel_nm, strength_waves)):
        for photons in (50, 350, 3000):
            assert find_flaws(OrthoSections(exposed(light, photons, seed), NM)).messages == ()


def test_a_good_image_is_left_as_it_is(image):
    flaws = find_flaws(OrthoSections(image, NM))
    np.testing.assert_array_equal(flaws.filled, image)
    assert (flaws.weight == 1).all()


@pytest.mark.parametrize("value", [-500.0, 3000.0])
@pytest.mark.parametrize("pixels", [1, 5, 20])
def test_single_hot_and_dead_pixels_are_found(image, value, pixels):
    spoiled = image.copy()
    rows, columns = np.divmod(np.random.default_rng(0).choice(15 * 15, pixels, replace=False), 15)
    spoiled[1, 4 * rows + 2, 4 * columns + 2] = value
    np.testing.assert_array_equal(left_out(spoiled), spoiled != image)
    assert find_flaws(OrthoSections(spoiled, NM)).messages == (f"xz: {pixels} hot or dead pixels are left out",)


def test_a_flawed_pixel_takes_the_value_of_a_neighbor(image):
    spoiled = image.copy()
    spoiled[0, 20, 30] = 1e5
    filled = find_flaws(OrthoSections(spoiled, NM)).filled
    assert filled[0, 20, 30] in image[0, 19:22, 29:32]
    assert (filled != image).sum() <= 1


def test_many_bright_pixels_are_light(image):
    spoiled = image.copy()
    spoiled[1, 2::4, 2::4] = 3000.0
    assert not left_out(spoiled).any()


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("lines", [1, 3, 8])
@pytest.mark.parametrize("far", [False, True])
def test_junk_lines_at_an_edge_are_found(image, axis, lines, far):
    spoiled = np.moveaxis(image.copy(), axis, 0)
    where = slice(-lines, None) if far else slice(lines)
    spoiled[where, 1] = np.random.default_rng(0).uniform(1000, 3000, size=(lines, 1))
    spoiled = np.moveaxis(spoiled, 0, axis)
    np.testing.assert_array_equal(left_out(spoiled), spoiled != image)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("lines", [(30,), (12, 40), (20, 33, 50)])
def test_bad_lines_are_found(image, axis, lines):
    spoiled = np.moveaxis(image.copy(), axis, 0)
    spoiled[list(lines), 2] += np.linspace(300, 420, len(lines))[:, None]
    spoiled = np.moveaxis(spoiled, 0, axis)
    np.testing.assert_array_equal(left_out(spoiled), spoiled != image)
    kind = "row" if axis == 1 else "column"
    messages = find_flaws(OrthoSections(spoiled, NM)).messages
    assert sorted(messages) == [f"yz: {kind} {line} is left out" for line in lines]


def test_all_flaws_of_a_recording_are_found_together(image):
    spoiled = image.copy()
    spoiled[1, :2] = 0
    spoiled[1, 2:, :1] = 2000
    spoiled[1, 45, 1:] += 300
    spoiled[1, 20, 33] = 5000
    flaws = find_flaws(OrthoSections(spoiled, NM))
    assert set(flaws.messages) == {
        "xz: rows 0 to 1 are left out",
        "xz: column 0 is left out",
        "xz: row 45 is left out",
        "xz: 1 hot or dead pixels are left out",
    }
    assert flaws.filled.max() < 1000


@pytest.mark.parametrize(
    "section",
    [
        np.zeros((32, 32)),
        np.full((32, 32), 9.0),
        np.add.outer(np.arange(32.0), 3 * np.arange(32.0)),
        np.random.default_rng(0).normal(size=(32, 32)),
        np.random.default_rng(0).poisson(0.05, size=(32, 32)) * 1.0,
        np.random.default_rng(0).poisson(100.0, size=(8, 9)) * 1.0,
    ],
    ids=["zero", "constant", "ramp", "noise", "few photons", "small"],
)
def test_an_image_without_a_focus_has_no_bad_lines(section):
    assert not any(
        "row" in message or "column" in message for message in find_flaws(FocalSection(section, NM)).messages
    )


def test_the_rim_of_sections_that_was_not_imaged_is_left_out_silently(image):
    sections = Sections.of({"xy": Plane(image[0][10:-10, 5:-5], (30.0, 30.0)), "xz": Plane(image[1], (30.0, 30.0))})
    flaws = find_flaws(sections)
    assert flaws.messages == ()
    assert flaws.weight.sum(axis=(1, 2)).tolist() == [44 * 54, 64 * 64]
    assert (flaws.weight[0, 10:-10, 5:-5] == 1).all()


def test_a_bad_line_of_a_smaller_section_is_found_in_its_place(image):
    small = image[0][10:-10, 5:-5].copy()
    small[20] += 400
    flaws = find_flaws(Sections.of({"xy": Plane(small, (30.0, 30.0)), "xz": Plane(image[1], (30.0, 30.0))}))
    assert flaws.messages == ("xy: row 20 is left out",)
    assert (flaws.weight[0, 30] == 0).all()


def test_hot_voxels_of_a_volume_are_found(foci):
    volume = exposed(np.stack([foci(1)[0][0]] * 10), 350)
    spoiled = volume.copy()
    spoiled[4, 10, 12] = 9000
    np.testing.assert_array_equal(find_flaws(Volume(spoiled, NM)).weight[0] == 0, spoiled != volume)


def test_parts_are_named(image):
    spoiled = image.copy()
    spoiled[:, 30] += 400
    messages = find_flaws(OrthoSections(spoiled, NM)).messages
    assert messages == tuple(f"{plane}: row 30 is left out" for plane in PLANES)
