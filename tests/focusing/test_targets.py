import warnings

import numpy as np
import pytest
import torch
from optics_reference import dense_intensity

import stedalign as sa
from stedalign.focusing.focus import Focus
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.targets import AXES, Grid, Line, Points, centered, plane, section
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.default()
WAVEFRONT = Wavefront(MODES, tuple(np.random.default_rng(0).normal(scale=0.06, size=len(MODES))))
TOLERANCE = 1e-6


def intensities(*targets, shift_nm=(0.0, 0.0, 0.0)):
    """On each target, shaped like it, in the units of the dense quadrature."""
    focus = Focus(Objective(), Beam(), MODES, targets, tolerance=TOLERANCE).double()
    found = focus(torch.tensor([[*WAVEFRONT.waves, *shift_nm]], dtype=torch.float64))
    return [
        values[0].numpy().reshape(target.shape) / float(focus.scale)
        for target, values in zip(targets, found, strict=True)
    ]


def assert_meets(found, reference, tolerance=TOLERANCE):
    assert np.linalg.norm(found - reference) <= tolerance * np.linalg.norm(reference)


def along(axis, positions):
    return Line(AXES[axis], np.asarray(positions, dtype=float))


DIAGONAL = np.array([1.0, -1.0, 1.0]) / np.sqrt(3)
TARGETS = {
    "plane through the focus": plane((0, 1, 0), (1, 0, 0), 14, 70.0),
    "lifted plane": plane((0, 1, 0), (1, 0, 0), 14, 70.0, center_nm=(0, 0, 250)),
    "tilted plane": plane((0, 3, 4), (1, 0, 0), 15, 70.0),
    "tilted plane beside the focus": plane((0, 3, 4), (4, -3, 2), 14, 70.0, center_nm=(120, -60, 90)),
    "skew plane": plane((1, 1, 0), (1, 0, 0), 14, 60.0),
    "volume": section("zyx", (6, 8, 7), (110.0, 90.0, 80.0)),
    "volume beside the focus": Grid(section("zyx", (6, 8, 7), (110.0, 90.0, 80.0)).axes, np.array([300.0, 50.0, 0.0])),
    "line": section("z", (31,), (60.0,)),
    "slanted line": Grid((Line(DIAGONAL, centered(40, 40.0)),), np.array([10.0, 20.0, 30.0])),
    "positions on one side": Grid((along("x", [40, 80, 160, 230]), along("z", -np.arange(100, 700, 90))), np.zeros(3)),
    "uneven positions": Grid((along("y", [-130, -20, 0, 55, 180]), along("z", np.arange(-200, 900, 80))), np.zeros(3)),
    "off-center positions": Grid((along("x", centered(20, 50) + 130), along("y", centered(20, 50) - 400)), np.zeros(3)),
    "one pixel": section("yx", (1, 1), (50.0, 50.0)),
    "points": Points(np.random.default_rng(1).uniform(-500, 500, size=(50, 3))),
}


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_holds_the_intensity_at_its_points(name):
    target = TARGETS[name]
    (found,) = intensities(target)
    (reference,) = dense_intensity(Objective(), Beam(), [WAVEFRONT], target.points_nm)
    assert_meets(found.ravel(), reference)


@pytest.mark.parametrize("samples", [(9, 9), (8, 8), (9, 8)])
@pytest.mark.parametrize("pixel_nm", [100.0, 15.0])
def test_odd_and_even_numbers_of_samples_hold_the_intensity_at_their_points(samples, pixel_nm):
    target = section("zx", samples, (pixel_nm, pixel_nm))
    (found,) = intensities(target)
    (reference,) = dense_intensity(Objective(), Beam(), [WAVEFRONT], target.points_nm)
    assert_meets(found.ravel(), reference)


def test_targets_of_one_plan_do_not_disturb_each_other():
    together = intensities(*TARGETS.values(), shift_nm=(30.0, -20.0, 50.0))
    for target, found in zip(TARGETS.values(), together, strict=True):
        where = target.points_nm - [30.0, -20.0, 50.0]
        assert_meets(found.ravel(), dense_intensity(Objective(), Beam(), [WAVEFRONT], where)[0])


def test_the_middle_planes_of_a_volume_are_the_sections():
    samples, pixel_nm = {"z": 9, "y": 11, "x": 13}, {"z": 100.0, "y": 80.0, "x": 70.0}
    volume, yx, zx, zy = intensities(
        *(section(axes, [samples[a] for a in axes], [pixel_nm[a] for a in axes]) for axes in ("zyx", "yx", "zx", "zy"))
    )
    for cut, plane_ in ((volume[4], yx), (volume[:, 5], zx), (volume[:, :, 6], zy)):
        assert_meets(cut, plane_)


def test_the_order_of_the_axes_is_that_of_the_result():
    zyx, xyz, yzx = intensities(
        section("zyx", (5, 6, 7), (90, 80, 70)),
        section("xyz", (7, 6, 5), (70, 80, 90)),
        section("yzx", (6, 5, 7), (80, 90, 70)),
    )
    assert_meets(xyz.T, zyx)
    assert_meets(yzx.transpose(1, 0, 2), zyx)


def test_a_reversed_axis_flips_the_result():
    plain, flipped = intensities(
        plane((0, 1, 0), (1, 0, 0), 12, 70.0, center_nm=(40, 0, 0)),
        plane((0, 1, 0), (-1, 0, 0), 12, 70.0, center_nm=(40, 0, 0)),
    )
    assert_meets(flipped[:, ::-1], plain)


@pytest.mark.parametrize("target", ["sections", "tilted"])
def test_a_pixel_that_integrates_holds_the_mean_over_its_area(target):
    pixel_nm, samples = 100.0, 9
    node, weight = np.polynomial.legendre.leggauss(4)
    rows, columns = {"sections": ((0, 1, 0), (1, 0, 0)), "tilted": ((0, 0.6, 0.8), (1, 0, 0))}[target]
    integrating = plane(rows, columns, samples, pixel_nm, integrate=True)
    (found,) = intensities(integrating)
    inside = pixel_nm / 2 * (node[:, None, None] * rows + node[:, None] * columns)
    points = integrating.points_nm[:, None] + inside.reshape(-1, 3)
    (values,) = dense_intensity(Objective(), Beam(), [WAVEFRONT], points.reshape(-1, 3), 40, 80)
    mean = values.reshape(samples**2, -1) @ np.outer(weight / 2, weight / 2).ravel()
    assert_meets(found.ravel(), mean)
    (plain,) = intensities(plane(rows, columns, samples, pixel_nm))
    assert np.linalg.norm(plain - found) > 0.02 * np.linalg.norm(found)


def test_sampling_that_integrates_makes_sections_that_do():
    assert all(
        line.width_nm == 40.0
        for target in Sampling(pixel_nm=(40,) * 3, integrate=True).targets()
        for line in target.axes
    )
    assert all(line.width_nm == 0.0 for target in Sampling().targets() for line in target.axes)


def test_pixels_that_miss_detail_are_warned_of():
    # Nyquist for the intensity at NA 1.4 and 775 nm is 775 / (4 x 1.4) = 138 nm across.
    with pytest.warns(UserWarning, match=r"pixels of 200 nm along .* wider than the 138 nm \(Nyquist\)"):
        Focus(Objective(), Beam(), MODES, [section("yx", (8, 8), (100, 200))], tolerance=1e-3)
    with warnings.catch_warnings(action="error"):
        Focus(Objective(), Beam(), MODES, [section("yx", (8, 8), (100, 100))], tolerance=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Points(np.zeros(3)), r"shape \(P, 3\)"),
        (lambda: Points(np.zeros((0, 3))), r"shape \(P, 3\)"),
        (lambda: Points(np.zeros((4, 2))), r"shape \(P, 3\)"),
        (lambda: Grid((), np.zeros(3)), "one to three axes"),
        (lambda: Grid((along("x", [0]),) * 4, np.zeros(3)), "one to three axes"),
        (lambda: Grid((along("x", [0]),), np.zeros(2)), "a center"),
        (lambda: Grid((along("x", []),), np.zeros(3)), "needs samples"),
        (lambda: Grid((along("x", [[0.0]]),), np.zeros(3)), "needs samples"),
        (lambda: Grid((Line(AXES["x"], np.zeros(3), -5.0),), np.zeros(3)), "not negative"),
        (lambda: Grid((Line(np.ones(3), np.zeros(3)),), np.zeros(3)), "unit length"),
        (lambda: section("yx", (8, 8, 8), (50, 50)), "shorter|longer"),
    ],
)
def test_targets_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


SETUP = sa.Setup(sampling=Sampling(samples=33, pixel_nm=(30.0, 30.0, 40.0)))
ASTIGMATIC = Wavefront(ModeSet.of([(2, 2)]), (0.05,))


def test_focus_on_the_same_section_is_the_focus():
    on_section = sa.focus_on(SETUP, ASTIGMATIC, SETUP.sampling.targets()[1])
    np.testing.assert_allclose(on_section, sa.focus(SETUP, ASTIGMATIC).data[1], atol=1e-4)


def test_focus_on_a_place_away_from_the_crest_is_relative_to_the_same_crest():
    sections = sa.focus(SETUP, ASTIGMATIC).data
    # Row 26 of xz lies at z = 400 nm, where the light is dim.
    lifted = sa.focus_on(SETUP, ASTIGMATIC, plane((0, 1, 0), (1, 0, 0), 33, 30.0, center_nm=(0, 0, 400)))
    np.testing.assert_allclose(lifted[16], sections[1, 26], atol=1e-4)
    assert lifted.max() < 0.9
    points = sa.focus_on(SETUP, ASTIGMATIC, Points(np.array([[0.0, 60.0, 0.0], [30.0, 0.0, 400.0]])))
    np.testing.assert_allclose(points, [sections[0, 18, 16], sections[1, 26, 17]], atol=1e-4)


def test_focus_on_a_volume_has_its_shape():
    volume = sa.focus_on(SETUP, ASTIGMATIC, section("zyx", (3, 5, 33), (40, 30, 30)))
    assert volume.shape == (3, 5, 33)
    np.testing.assert_allclose(volume[1], sa.focus(SETUP, ASTIGMATIC).data[0, 14:19], atol=1e-4)
