"""Promises of the one owner of phase -> gray."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stedalign.instrument.slm_mask import SlmGeometry, grating_waves, mask_levels, pupil_coordinates, to_panel, to_pupil
from stedalign.optics.patterns import Flat, Vortex
from stedalign.optics.wavefront import ModeSet, Wavefront

FLAT, VORTEX = Flat(), Vortex()
MODES = ModeSet.default()
COMA_X = ModeSet.of([(3, 1)])
SMALL = {"rows": 48, "columns": 96, "pupil_radius_px": 20.3}

geometries = st.builds(
    SlmGeometry,
    rows=st.just(48),
    columns=st.just(97),
    half=st.sampled_from(["left", "right", "full"]),
    pupil_radius_px=st.floats(5, 20),
    rotation_deg=st.floats(-180, 180),
    flip_x=st.booleans(),
    flip_y=st.booleans(),
    levels_per_2pi=st.floats(2, 256),
    grating_period_px=st.sampled_from([(0.0, 0.0), (7.5, 0.0), (-12.0, 9.0)]),
)
corrections = st.lists(st.floats(-2, 2), min_size=11, max_size=11).map(lambda w: Wavefront(MODES, tuple(w)))


@settings(max_examples=40, deadline=None)
@given(geometries, corrections)
def test_a_level_differs_from_the_exact_phase_by_at_most_half_a_level_modulo_one_wave(geometry, correction):
    levels = mask_levels(geometry, VORTEX, correction)
    x, y = pupil_coordinates(geometry)
    row, column = np.indices(geometry.shape, dtype=float)
    waves = VORTEX.phase(x, y) / (2 * np.pi) + MODES.polynomials(x, y) @ correction.array
    waves += grating_waves(geometry, column, row)
    difference = levels / geometry.levels_per_2pi - waves
    wrapped = np.abs(difference - np.rint(difference))[np.hypot(x, y) <= 1]
    assert wrapped.max() <= 0.5 / geometry.levels_per_2pi + 1e-9


@settings(max_examples=40, deadline=None)
@given(geometries, corrections)
def test_no_level_reaches_a_full_wave(geometry, correction):
    assert mask_levels(geometry, VORTEX, correction).max() < geometry.levels_per_2pi


@settings(max_examples=20, deadline=None)
@given(geometries, corrections)
def test_a_write_can_be_repeated(geometry, correction):
    first = mask_levels(geometry, VORTEX, correction)
    assert np.array_equal(first, mask_levels(geometry, VORTEX, correction))


@settings(max_examples=40, deadline=None)
@given(geometries, st.floats(-1, 1), st.floats(-1, 1))
def test_panel_and_pupil_positions_invert_each_other(geometry, x, y):
    there = to_panel(geometry, np.array(x), np.array(y))
    assert np.allclose(to_pupil(geometry, *there), (x, y), atol=1e-12)


def test_two_parts_of_140_levels_make_62_of_218():
    geometry = SlmGeometry(**SMALL)
    piston = Wavefront(ModeSet.of([(0, 0)]), (140 / 218,))
    levels = mask_levels(geometry, FLAT, piston, np.full(geometry.shape, 140.0))
    assert levels[24, 24] == 62


def test_an_error_of_almost_one_level_at_the_wrap_becomes_level_zero():
    geometry = SlmGeometry(**SMALL, levels_per_2pi=217.6)
    levels = mask_levels(geometry, FLAT, Wavefront(ModeSet.of([(0, 0)]), (217.55 / 217.6,)))
    assert levels.max() == 0


def test_pixels_outside_the_used_half_show_level_zero():
    levels = mask_levels(SlmGeometry(half="right"), VORTEX, Wavefront.zero(MODES))
    assert levels[:, :396].max() == 0
    assert levels[:, 396:].max() == 217


def test_the_pattern_continues_outside_the_pupil_and_the_correction_does_not():
    geometry = SlmGeometry(**SMALL)
    strong = Wavefront(MODES, (5.0,) * 11)
    x, y = pupil_coordinates(geometry)
    beyond = np.hypot(x, y) > 1 + 1 / geometry.pupil_radius_px
    same = mask_levels(geometry, VORTEX, strong) == mask_levels(geometry, VORTEX, Wavefront.zero(MODES))
    assert same[beyond].all()


@pytest.mark.parametrize(
    ("changes", "lobe"),
    [
        ({}, (1, 0)),
        ({"flip_x": True}, (-1, 0)),
        ({"flip_y": True}, (1, 0)),
        ({"rotation_deg": 90.0}, (0, -1)),
        ({"rotation_deg": 90.0, "flip_y": True}, (0, 1)),
        ({"rotation_deg": 180.0}, (-1, 0)),
    ],
)
def test_flips_then_rotation_put_the_coma_lobe_where_the_pupil_has_plus_x(changes, lobe):
    geometry = SlmGeometry(**SMALL, **changes)
    levels = mask_levels(geometry, FLAT, Wavefront(COMA_X, (0.05,)))
    column, row = (
        round(center + 0.95 * geometry.pupil_radius_px * step)
        for center, step in zip(geometry.center_px, lobe, strict=True)
    )
    # Coma (3, 1) is positive at the rim along +x: 0.05 waves x norm, most of it.
    assert 0.2 * 0.05 * 218 * 8**0.5 < levels[row, column] < 0.05 * 218 * 8**0.5


def test_the_vortex_turns_from_the_columns_to_the_rows():
    geometry = SlmGeometry(**SMALL)
    levels = mask_levels(geometry, VORTEX, Wavefront.zero(MODES))
    column, row = (int(center) for center in geometry.center_px)
    assert abs(int(levels[row + 15, column]) - 218 / 4) < 4
    assert abs(int(levels[row, column - 15]) - 218 / 2) < 4


def test_the_default_pupil_sits_in_the_middle_of_the_left_half():
    assert SlmGeometry().center_px == (197.5, 299.5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pupil_center_px": (60.0, 300.0)}, "does not lie on the used part"),
        ({"pupil_radius_px": 250.0}, "does not lie on the used part"),
        ({"grating_period_px": (1.5, 0.0)}, "at least 2 pixels"),
        ({"levels_per_2pi": 300.0}, "less than or equal to 256"),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        SlmGeometry(**changes)


def test_a_flatness_map_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="flatness map"):
        mask_levels(SlmGeometry(), VORTEX, Wavefront.zero(MODES), np.zeros((600, 396)))
