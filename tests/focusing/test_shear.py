"""A scan whose z axis leans, against dense sums at the places that its pixels then have."""

import numpy as np
import pytest
import torch
from optics_reference import dense_intensity

from stedalign.errors import InputError
from stedalign.focusing.focus import Focus
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import SHEARS
from stedalign.optics.targets import Points, plane, section
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
WAVES = [0.06, -0.05, 0.04]
TARGETS = [
    section("yx", (10, 10), (70, 60)),
    section("zx", (12, 10), (150, 60)),
    section("zy", (12, 14), (150, 70)),
    section("zyx", (4, 6, 8), (300, 70, 60)),
]
LEAN, STRETCH, SHIFT = (0.05, -0.04), {"pixel_error_y": 0.03, "pixel_error_z": -0.1}, (20.0, -15.0, 40.0)
FREE = {"pixel_error_y": 0.05, "pixel_error_z": 0.1, **dict.fromkeys(SHEARS, 0.05)}


def focus_of(targets=TARGETS, free=FREE, tolerance=1e-4):
    return Focus(Objective(), Beam(), MODES, targets, free=free, tolerance=tolerance, strength_waves=0.15)


@pytest.fixture(scope="module")
def focus():
    return focus_of()


@pytest.fixture(scope="module")
def row(focus):
    values = [STRETCH.get(name, dict(zip(SHEARS, LEAN, strict=True)).get(name)) for name in focus.free]
    return torch.tensor([[*WAVES, *SHIFT, *values]], dtype=torch.float64)


def test_each_row_is_seen_where_the_leaning_scan_has_it(focus, row):
    for target, found in zip(TARGETS, focus(row), strict=True):
        nominal = target.points_nm
        places = nominal * [1.0, 1 + STRETCH["pixel_error_y"], 1 + STRETCH["pixel_error_z"]]
        places[:, :2] -= np.outer(nominal[:, 2], LEAN)
        expected = dense_intensity(Objective(), Beam(), [Wavefront(MODES, WAVES)], places - SHIFT, 60, 100)[0]
        upright = dense_intensity(Objective(), Beam(), [Wavefront(MODES, WAVES)], nominal - SHIFT, 60, 100)[0]
        error = found[0].numpy() / float(focus.scale) - expected
        assert np.linalg.norm(error) < 1e-4 * np.linalg.norm(expected)
        assert np.linalg.norm(upright - expected) > 1e-2 * np.linalg.norm(expected)


def test_slopes_of_a_leaning_scan_are_those_of_central_differences(focus, row):
    rows = torch.cat([row, row / 2, focus.rest[None]])
    values, slopes = focus.jacobian(rows)
    for value, exact in zip(values, focus(rows), strict=True):
        torch.testing.assert_close(value, exact, rtol=0, atol=1e-10)
    for column in range(rows.shape[1]):
        step = torch.zeros_like(rows)
        step[:, column] = 1e-5 * (100 if len(MODES) <= column < focus.steering else 1)
        for index, slope in enumerate(slopes):
            expected = (focus(rows + step)[index] - focus(rows - step)[index]) / (2 * step[0, column])
            atol = 1e-6 * float(expected.abs().max()) + 1e-9
            torch.testing.assert_close(slope[:, column], expected, rtol=0, atol=atol)


def test_binned_pixels_are_means_of_those_that_lean(focus, row):
    fine, coarse = focus(row)[1], focus(row, binning=2)[1]
    means = fine.unflatten(1, (6, 2, 5, 2)).mean((2, 4)).flatten(1)
    torch.testing.assert_close(coarse, means, rtol=1e-9, atol=1e-12)
    slopes = focus.jacobian(row)[1][1], focus.jacobian(row, binning=2)[1][1]
    means = slopes[0].unflatten(2, (6, 2, 5, 2)).mean((3, 5)).flatten(2)
    torch.testing.assert_close(slopes[1], means, rtol=1e-9, atol=1e-9)


def test_a_scan_that_leans_along_one_axis_alone_drifts_as_any():
    free = {"shear_y": 0.05}
    focus = Focus(Objective(), Beam(), MODES, TARGETS[:3], free=free, drifting=True, tolerance=1e-3, strength_waves=0.1)
    row = focus.rest[None].clone()
    row[:, focus.steering :] = 0.04
    row[:, len(MODES) + 3 : focus.steering] = torch.arange(9.0)
    both = focus_of(TARGETS[:3], {"shear_x": 0.05, "shear_y": 0.05}, 1e-3)
    steady = torch.cat([row[:, : len(MODES)], torch.tensor([[3.0, 4.0, 5.0, 0.0, 0.04]])], dim=1)
    torch.testing.assert_close(focus(row)[1], both(steady)[1], rtol=0, atol=2e-3)


def test_targets_that_cannot_lean_are_refused():
    for target in (Points(np.zeros((1, 3))), plane((1, 0, 1), (0, 1, 0), 8, 60.0), section("xz", (8, 8), (60, 90))):
        with pytest.raises(InputError, match="a shear needs targets along z, then y, then x"):
            focus_of([target], {"shear_x": 0.05})


def test_a_setup_that_asks_for_a_shear_has_it_free_where_z_is_resolved():
    asked = Nuisances(shear=0.02)
    assert not any(name in Nuisances().free(Beam()) for name in SHEARS)
    assert not any(name in asked.free(Beam(), "xy") for name in SHEARS)
    sampling = Sampling(samples=16, pixel_nm=(110.0, 110.0, 110.0))
    model = ForwardModel(ForwardSpec(sampling=sampling), MODES, free=asked.free(Beam()), tolerance=3e-2)
    assert len(model.layout.columns(SHEARS)) == 2
    assert asked.free(Beam())["shear_x"] == 0.05
