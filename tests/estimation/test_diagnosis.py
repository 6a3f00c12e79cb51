"""Promises of the words that tell what to turn."""

from __future__ import annotations

import math

import pytest

from stedalign.estimation.diagnosis import diagnose
from stedalign.optics.beam import Beam
from stedalign.optics.detection import Detection

FINE = {
    "pixel_error_x": (0.001, 0.01),
    "pixel_error_z": (0.01, 0.05),
    "leak_real": (0.01, 0.02),
    "leak_imaginary": (0.0, 0.02),
    "taper": (0.1, 0.2),
    "fill_center_x": (0.0, 0.03),
    "fill_center_y": (0.01, 0.03),
    "mask_offset_x": (0.0, 0.002),
    "mask_offset_y": (0.0, 0.002),
    "blur_nm2": (10.0, 40.0),
    "pinhole": (0.0, 0.0),
}


def off(**values):
    return diagnose(FINE | values, Beam(), Detection(), (67.2, -67.2))


def test_what_chance_explains_is_no_remark():
    assert off() == ()


@pytest.mark.parametrize(
    ("values", "what", "words"),
    [
        ({"pixel_error_z": (-0.27, 0.02)}, "z calibration", "0.730 ± 0.020 of what the file says"),
        ({"pixel_error_x": (0.05, 0.01)}, "x calibration", "calibrate the scanner"),
        ({"taper": (1.0, 0.1)}, "fill", "1/e radius of 1.00 pupil radii, the setup says evenly"),
        ({"fill_center_y": (-0.12, 0.02)}, "beam center", "y -0.12"),
        ({"blur_nm2": (400.0, 40.0)}, "vibration", "blurred by 20 nm"),
        ({"inverse_pinhole_cubed": (1.0, 0.1)}, "pinhole", "1.0 Airy units wide"),
        ({"index_layer_nm": (300.0, 40.0)}, "index layer", "300 nm thick"),
        ({"ez_weight": (0.5, 0.1)}, "axial light", "-0.50"),
    ],
)
def test_each_fault_is_named_with_what_to_do(values, what, words):
    (remark,) = off(**values)
    assert remark.what == what
    assert words in remark.words


def test_a_wave_plate_is_off_by_the_angle_of_what_leaks():
    leak = math.tan(math.radians(6))
    (remark,) = off(leak_real=(0.6 * leak, 0.005), leak_imaginary=(0.8 * leak, 0.005))
    assert remark.what == "wave plate"
    assert remark.value == pytest.approx(6.0)
    assert remark.sigma == pytest.approx(math.degrees(0.005), rel=0.02)


def test_the_mask_is_moved_against_its_offset_on_a_panel_that_may_be_flipped():
    (remark,) = off(mask_offset_x=(0.1, 0.002), mask_offset_y=(0.05, 0.002))
    assert "-6.7 columns and +3.4 rows" in remark.words


def test_the_surest_remark_comes_first():
    remarks = off(pixel_error_z=(-0.3, 0.01), taper=(1.0, 0.25))
    assert [remark.what for remark in remarks] == ["z calibration", "fill"]
