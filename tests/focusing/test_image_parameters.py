"""Drifting targets, pixel sizes that are off, and the Jacobian of everything that may differ between images."""

import numpy as np
import pytest
import torch
from optics_reference import dense_waves

from stedalign.focusing.focus import Focus
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import BLUR, EZ_WEIGHT, PIXEL_ERRORS
from stedalign.optics.patterns import Flat
from stedalign.optics.polarization import Polarization
from stedalign.optics.targets import Points, plane, section
from stedalign.optics.wavefront import ModeSet

# Forward differentiation makes torch load a module of its own that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
PIXELS = (70.0, 60.0, 90.0)
WAVES = [0.06, -0.08, 0.05]
OPTICS = Objective(), Beam(), MODES
ACCURACY = {"tolerance": 1e-6, "strength_waves": 0.15}


def sampling(stretch: tuple[float, ...] = (0.0, 0.0, 0.0), *, integrate: bool = False) -> Sampling:
    x, y, z = (pixel * (1 + error) for pixel, error in zip(PIXELS, stretch, strict=True))
    return Sampling(samples=16, pixel_nm=(x, y, z), integrate=integrate)


def distance(found: torch.Tensor, reference: torch.Tensor) -> float:
    return float(torch.linalg.norm(found - reference) / torch.linalg.norm(reference))


@pytest.mark.parametrize("integrate", [False, True])
def test_a_pixel_error_is_a_setup_with_other_pixels(integrate: bool) -> None:
    errors = (0.05, -0.04, 0.03)
    focus = Focus(*OPTICS, sampling(integrate=integrate).targets(), free=dict.fromkeys(PIXEL_ERRORS, 0.05), **ACCURACY)
    found = focus(torch.tensor([[*WAVES, 5.0, -9.0, 20.0, *errors]], dtype=torch.float64))
    other = Focus(*OPTICS, sampling(errors, integrate=integrate).targets(), **ACCURACY)
    reference = other(torch.tensor([[*WAVES, 5.0, -9.0, 20.0]], dtype=torch.float64))
    for ours, theirs in zip(found, reference, strict=True):
        assert distance(ours / focus.scale, theirs / other.scale) < 1e-5


@pytest.mark.parametrize("axes", ["z", "yx", "zyx"])
def test_each_image_of_a_batch_has_its_own_pixels_on_any_grid(axes: str) -> None:
    target = section(axes, (10,) * len(axes), (60.0,) * len(axes))
    focus = Focus(*OPTICS, [target], free=dict.fromkeys(PIXEL_ERRORS, 0.05), tolerance=1e-4, strength_waves=0.15)
    rows = torch.tensor([[*WAVES, 5.0, -9.0, 20.0, error, -error, error / 2] for error in (0.05, -0.02, 0.0)])
    with torch.no_grad():
        (together,) = focus(rows)
    assert together.shape == (3, 10 ** len(axes))
    for row, pixels in zip(rows, together, strict=True):
        assert torch.allclose(pixels, focus(row[None])[0][0], atol=1e-9)


def test_slopes_of_pixel_errors_alone_survive_large_batches() -> None:
    focus = Focus(*OPTICS, sampling().targets(), free=dict.fromkeys(PIXEL_ERRORS, 0.05), drifting=True, tolerance=1e-3)
    rows = focus.rest.repeat(40, 1)
    assert focus.jacobian(rows)[1][0].shape == (40, rows.shape[1], 16 * 16)


def test_targets_that_drift_are_shifted_one_by_one() -> None:
    drifts = [[10.0, -20.0, 5.0], [-7.0, 0.0, 30.0], [0.0, 12.0, -25.0]]
    shift = np.array([15.0, 3.0, -8.0])
    targets = sampling().targets()
    focus, steady = Focus(*OPTICS, targets, drifting=True, **ACCURACY), Focus(*OPTICS, targets, **ACCURACY)
    found = focus(torch.tensor([[*WAVES, *shift, *np.ravel(drifts)]], dtype=torch.float64))
    for index, drift in enumerate(drifts):
        moved = torch.tensor([[*WAVES, *(shift + drift)]], dtype=torch.float64)
        assert torch.allclose(found[index], steady(moved)[index], atol=1e-9)


def test_the_jacobian_of_all_parameters_is_that_of_automatic_differentiation() -> None:
    free = {"mask_offset_x": 0.1, BLUR: 900.0, "pixel_error_z": 0.05, "taper": 1.0, "pixel_error_x": 0.05}
    focus = Focus(
        *OPTICS, sampling().targets(), bead_diameter_nm=80, free=free, drifting=True, tolerance=1e-3, strength_waves=0.1
    )
    rows = torch.zeros(2, focus.steering + len(free), dtype=torch.float64)
    rows[:, : focus.steering] = 0.03 * torch.arange(2 * focus.steering).reshape(2, -1).cos()
    rows[:, focus.steering :] = torch.tensor([[0.05, 300.0, 0.01, 0.4, -0.03], [-0.03, 10.0, -0.05, 0.9, 0.02]])
    values, slopes = focus.jacobian(rows)
    for index, (value, slope) in enumerate(zip(values, slopes, strict=True)):
        assert torch.allclose(value, focus(rows)[index], atol=1e-12)
        automatic = torch.func.jacfwd(lambda given, index=index: focus(given)[index])(rows)
        for row in range(2):
            expected = automatic[row, :, row].T
            assert torch.allclose(slope[row], expected, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("drifting", [False, True])
def test_the_jacobian_holds_on_targets_of_all_kinds(drifting: bool) -> None:
    lifted = plane((0, 1, 0), (1, 0, 0), 7, 60.0, center_nm=(0, 0, 250))
    points = Points(np.array([[30.0, -50.0, 90.0], [0.0, 120.0, -40.0]]))
    targets = [section("yx", (8, 8), (60, 60)), lifted, section("zyx", (6, 4, 8), (90, 60, 60)), points]
    free = {"fill_center_y": 0.1, BLUR: 900.0, "leak_imaginary": 0.1, "taper": 1.0}
    focus = Focus(
        *OPTICS, targets, bead_diameter_nm=80, free=free, drifting=drifting, tolerance=1e-2, strength_waves=0.1
    )
    row = focus.rest + 0.03 * torch.arange(len(focus.rest), dtype=torch.float64).cos().abs()
    row[len(MODES) : focus.steering] *= 500
    row[focus.free.index(BLUR) - len(free)] = 200
    rows = torch.stack([row, row / 2, focus.rest]).requires_grad_()
    values, slopes = focus.jacobian(rows)
    for index, (value, slope) in enumerate(zip(values, slopes, strict=True)):
        assert not slope.requires_grad
        assert torch.allclose(value, focus(rows)[index], atol=1e-12)
        automatic = torch.func.jacrev(lambda given, index=index: focus(given)[index])(rows.detach())
        for row in range(len(rows)):
            expected = automatic[row, :, row].T
            assert torch.allclose(slope[row], expected, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("bead_nm", [0.0, 120.0])
def test_the_intensity_is_linear_in_the_weight_of_ez_from_0_on_and_so_are_its_slopes(bead_nm: float) -> None:
    free = {BLUR: 900.0, EZ_WEIGHT: 1.0}
    focus = Focus(*OPTICS, sampling().targets(), bead_diameter_nm=bead_nm, free=free, tolerance=1e-3)
    rows = torch.tensor([[*WAVES, 5.0, -9.0, 20.0, 200.0, weight] for weight in (0.0, 0.5, 1.0)], dtype=torch.float64)
    dark, half, full = torch.cat(focus(rows), dim=1)
    assert torch.allclose(half, (dark + full) / 2, rtol=0, atol=1e-5)
    slopes = torch.cat(focus.jacobian(rows)[1], dim=2)
    assert torch.allclose(slopes[:, -1], full - dark, rtol=0, atol=1e-5)
    along_blur = torch.func.jacrev(lambda row: torch.cat(focus(row[None]), dim=1)[0])(rows[1])[:, -2]
    assert torch.allclose(slopes[1, -2], along_blur, rtol=1e-6, atol=1e-9)


def test_a_weight_of_ez_weighs_the_field_along_z_alone() -> None:
    target = section("zx", (12, 12), (90.0, 60.0))
    radial = Beam(pattern=Flat(), polarization=Polarization(kind="radial"))
    focus = Focus(Objective(), radial, MODES, [target], free={EZ_WEIGHT: 0.6}, **ACCURACY)
    (found,) = focus(torch.tensor([[*WAVES, 0.0, 0.0, 0.0, 0.4]], dtype=torch.float64))[0].numpy()
    x, y, k, amplitude = dense_waves(Objective(), radial, 60, 120)
    waves = amplitude * np.exp(2j * np.pi * MODES.polynomials(x, y) @ WAVES)
    e_x, e_y, e_z = np.abs(waves @ np.exp(1j * (k @ target.points_nm.T))) ** 2
    expected = e_x + e_y + 0.4 * e_z
    assert np.linalg.norm(found / float(focus.scale) - expected) < 1e-5 * np.linalg.norm(expected)


def test_the_jacobian_does_not_depend_on_how_many_images_are_computed_together(monkeypatch) -> None:
    free = {BLUR: 900.0, "pixel_error_z": 0.05, "taper": 1.0}
    focus = Focus(*OPTICS, sampling().targets(), free=free, drifting=True, tolerance=1e-2, strength_waves=0.1)
    rows = focus.rest + 0.02 * torch.arange(7 * len(focus.rest), dtype=torch.float64).reshape(7, -1).cos().abs()
    found = {}
    for count in (1, 3, 7):
        monkeypatch.setattr(Focus, "_at_once", lambda *_, count=count, **__: count)
        found[count] = focus.jacobian(rows, binning=2)
    for part in (0, 1):
        for one, three, seven in zip(found[1][part], found[3][part], found[7][part], strict=True):
            torch.testing.assert_close(three, one, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(seven, one, rtol=1e-12, atol=1e-12)


def test_pixel_errors_of_targets_without_pixels_are_refused() -> None:
    tilted = plane((1, 0, 1), (0, 1, 0), 8, 60.0)
    for target in (Points(np.zeros((1, 3))), tilted):
        with pytest.raises(ValueError, match="pixel size need targets along x, y, z"):
            Focus(*OPTICS, [target], free={"pixel_error_x": 0.05})
