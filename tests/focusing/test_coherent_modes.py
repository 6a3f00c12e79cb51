"""Beads and blurs as sums of coherent beams, against averages over displaced images."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stedalign.focusing.focus import Focus
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import BEAD, BLUR, EZ_WEIGHT
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
TARGETS = Sampling(samples=16, pixel_nm=(70.0, 60.0, 90.0)).targets()
WAVES = [0.06, -0.08, 0.05]


def intensities(focus: Focus, shifts: NDArray[np.float64], free: tuple[float, ...] = ()) -> torch.Tensor:
    """(shifts, 3 x pixels) for the wavefront ``WAVES``."""
    rows = np.concatenate([np.tile(WAVES, (len(shifts), 1)), shifts, np.tile(free, (len(shifts), 1))], axis=1)
    return torch.cat(focus(torch.from_numpy(rows)), dim=1)


def blurred(sigma_nm: float) -> torch.Tensor:
    """By Gauss-Hermite quadrature over displacements along x, y and z."""
    node, weight = np.polynomial.hermite_e.hermegauss(7)
    places = np.stack(np.meshgrid(node, node, node), axis=-1).reshape(-1, 3)
    weights = np.einsum("i,j,k->ijk", weight, weight, weight).ravel() / weight.sum() ** 3
    sharp = Focus(Objective(), Beam(), MODES, TARGETS, bead_diameter_nm=80, tolerance=1e-6, strength_waves=0.15)
    return torch.from_numpy(weights) @ intensities(sharp, places * sigma_nm)


@pytest.fixture(scope="module")
def blurring() -> Focus:
    free = {BLUR: 40.0**2}
    return Focus(
        Objective(), Beam(), MODES, TARGETS, bead_diameter_nm=80, free=free, tolerance=1e-5, strength_waves=0.15
    )


@pytest.mark.parametrize("sigma_nm", [0.0, 12.0, 40.0])
def test_a_blur_is_the_average_over_displaced_images(blurring: Focus, sigma_nm: float) -> None:
    found = intensities(blurring, np.zeros((1, 3)), (sigma_nm**2,))[0]
    reference = blurred(sigma_nm)
    assert torch.linalg.norm(found - reference) < 3e-5 * torch.linalg.norm(reference)


@pytest.mark.parametrize("diameter_nm", [0.0, 40.0, 60.0, 80.0])
def test_a_rough_blur_meets_its_tolerance_for_beads_of_any_size(diameter_nm: float) -> None:
    rough, exact = (
        Focus(
            Objective(), Beam(), MODES, TARGETS, bead_diameter_nm=diameter_nm, free={BLUR: 50.0**2}, tolerance=tolerance
        )
        for tolerance in (1e-2, 1e-6)
    )
    for variance in (0.0, 20.0**2, 50.0**2):
        found, expected = (intensities(focus, np.zeros((1, 3)), (variance,)) for focus in (rough, exact))
        assert torch.linalg.norm(found - expected) < 1e-2 * torch.linalg.norm(expected)


@pytest.mark.parametrize("diameter_nm", [20.0, 40.0, 80.0, 150.0])
@pytest.mark.parametrize("tolerance", [1e-2, 3e-3, 1e-3, 1e-4])
def test_a_round_bead_keeps_a_focus_round(diameter_nm: float, tolerance: float) -> None:
    cube = Sampling(samples=16, pixel_nm=(70.0, 70.0, 90.0)).targets()
    focus = Focus(Objective(), Beam(), MODES, cube, bead_diameter_nm=diameter_nm, tolerance=tolerance)
    _, xz, yz = focus(torch.zeros(1, 6, dtype=torch.float64))
    assert torch.allclose(xz, yz, atol=2e-6)


@pytest.mark.parametrize("free", [{BEAD: 60.0}, {BLUR: 900.0, BEAD: 100.0}], ids=["alone", "with a blur"])
def test_a_bead_that_is_larger_or_smaller_is_the_focus_of_a_setup_with_that_bead(free: dict[str, float]) -> None:
    focus = Focus(Objective(), Beam(), MODES, TARGETS, bead_diameter_nm=80, free=free, tolerance=1e-4)
    for larger in (-max(free.values()) if BLUR not in free else -80.0, -25.0, 0.0, 60.0):
        told = Focus(Objective(), Beam(), MODES, TARGETS, bead_diameter_nm=max(80 + larger, 0), tolerance=1e-6)
        found = intensities(focus, np.zeros((1, 3)), (*(0.0 for name in free if name == BLUR), larger))
        expected = intensities(told, np.zeros((1, 3))) / told.scale * focus.scale
        assert torch.linalg.norm(found - expected) < 2e-4 * torch.linalg.norm(expected), larger


def test_slopes_along_bead_and_blur_are_those_of_central_differences() -> None:
    free = {BLUR: 900.0, BEAD: 60.0, EZ_WEIGHT: 0.5}
    focus = Focus(Objective(), Beam(), MODES, TARGETS, bead_diameter_nm=50, free=free, tolerance=1e-3)
    rows = torch.tensor(
        [[*WAVES, 5.0, -9.0, 20.0, 300.0, 15.0, 0.8], [*WAVES, 0.0, 0.0, 0.0, 20.0, -30.0, 1.0]], dtype=torch.float64
    )
    slopes = torch.cat(focus.jacobian(rows)[1], dim=2)
    for column in range(6, 9):
        step = torch.zeros_like(rows)
        step[:, column] = 1e-3
        expected = (torch.cat(focus(rows + step), dim=1) - torch.cat(focus(rows - step), dim=1)) / 2e-3
        assert torch.linalg.norm(slopes[:, column] - expected) < 1e-6 * torch.linalg.norm(expected)


def test_images_of_one_batch_have_their_own_blurs(blurring: Focus) -> None:
    rows = torch.tensor([[*WAVES, 0.0, 0.0, 0.0, variance] for variance in (0.0, 400.0, 1600.0)], dtype=torch.float64)
    together, alone = blurring(rows)[0], torch.cat([blurring(row[None])[0] for row in rows])
    assert torch.allclose(together, alone, atol=1e-9)


def test_a_blur_beyond_what_the_series_follow_is_refused() -> None:
    with pytest.raises(ValueError, match="blur_nm2 must lie between 0 and"):
        Focus(Objective(), Beam(), MODES, TARGETS, free={BLUR: 1e6})
