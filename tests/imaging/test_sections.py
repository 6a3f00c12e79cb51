import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stedalign.imaging.images import OrthoSections, Sampling, cut_sections, normalize

NM = (31.25, 31.25, 31.25)


def test_the_middle_of_n_samples_is_at_half_of_n_minus_1():
    assert Sampling(samples=64).axis_px[[0, 63]].tolist() == [-31.5, 31.5]
    assert Sampling(samples=9).axis_px[4] == 0


def test_pixels_lie_exactly_one_pitch_apart():
    points = Sampling(samples=64, pixel_nm=(20.0, 30.0, 40.0)).points_nm()
    np.testing.assert_allclose(np.diff(points[0].reshape(64, 64, 3)[:, :, 0], axis=1), 20.0)
    np.testing.assert_allclose(np.diff(points[0].reshape(64, 64, 3)[:, :, 1], axis=0), 30.0)
    np.testing.assert_allclose(np.diff(points[1].reshape(64, 64, 3)[:, :, 2], axis=0), 40.0)


def test_sections_cut_from_a_volume_are_xy_by_row_y_and_xz_by_row_z():
    z, y, x = np.meshgrid(*(np.arange(20.0),) * 3, indexing="ij")
    xy, xz, yz = cut_sections(100 * z + 10 * y + x, (9, 10, 11), 8)
    assert xy[0, 0] == 100 * 9 + 10 * 6 + 7
    assert xy[1, 0] - xy[0, 0] == 10
    assert (xz[1, 0] - xz[0, 0], xz[0, 1] - xz[0, 0]) == (100, 1)
    assert (yz[1, 0] - yz[0, 0], yz[0, 1] - yz[0, 0]) == (100, 10)
    assert xy[4, 4] == xz[4, 4] == yz[4, 4]


def test_sections_that_leave_the_volume_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        cut_sections(np.zeros((10, 10, 10)), (2, 5, 5), 8)


@pytest.mark.parametrize("shape", [(3, 16), (2, 16, 16), (3, 16, 12), (3, 4, 4), (1, 3, 16, 16)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"sections"):
        OrthoSections(np.zeros(shape), NM)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    data = np.zeros((3, 16, 16))
    data[1, 2, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        OrthoSections(data, NM)


@pytest.mark.parametrize("pixel_nm", [(0.0, 1.0, 1.0), (-5.0, 1.0, 1.0), (np.nan, 1.0, 1.0), (1.0, 1.0)])
def test_pixel_sizes_must_be_three_positive_lengths(pixel_nm):
    with pytest.raises(ValueError, match="positive lengths"):
        OrthoSections(np.zeros((3, 16, 16)), pixel_nm)


def test_the_data_of_sections_cannot_be_changed_afterwards():
    sections = OrthoSections(np.zeros((3, 16, 16)), NM)
    with pytest.raises(ValueError, match="read-only"):
        sections.data[0, 0, 0] = 1


@given(st.floats(0.01, 1000), st.floats(-50, 5000))
def test_normalization_ignores_gain_and_offset(gain, offset):
    image = torch.from_numpy(np.random.default_rng(0).gamma(0.5, size=(2, 3, 16, 16)))
    torch.testing.assert_close(normalize(gain * image + offset), normalize(image), rtol=1e-6, atol=1e-6)


def test_normalization_keeps_the_ratio_between_the_sections():
    image = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    image[0, :, 8, 8] = torch.tensor([1.0, 2.0, 4.0])
    found = normalize(image)[0, :, 8, 8]
    torch.testing.assert_close(found / found[0], torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))


def test_an_empty_image_normalizes_to_zero():
    assert (normalize(torch.full((1, 3, 16, 16), 9.0)) == 0).all()
