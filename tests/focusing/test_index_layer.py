"""A thin index layer: the phase of a mismatched sample, less what only moves the image along z."""

import numpy as np
import pytest
import torch

from stedalign.focusing.focus import Focus
from stedalign.focusing.index_layer import layer_phase
from stedalign.focusing.wave_grid import WaveGrid
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam, Overlay
from stedalign.optics.objective import WATER_INDEX, Objective
from stedalign.optics.parameters import LAYER
from stedalign.optics.wavefront import ModeSet

# Forward differentiation makes torch load a module of its own that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
TARGETS = Sampling(samples=12, pixel_nm=(100.0, 100.0, 120.0)).targets()
GLYCEROL = Objective(sample_index=1.46)


def of_the_mismatch(objective: Objective, grid: WaveGrid, depth_nm: float) -> np.ndarray:
    index = objective.sample_index or WATER_INDEX
    deep = objective.model_copy(update={"sample_index": index, "sample_depth_nm": depth_nm})
    return deep.mismatch(np.hypot(*grid.direction.T[:2]), 775.0)[1]


@pytest.mark.parametrize("objective", [Objective(), GLYCEROL, Objective(mapping="herschel")], ids=str)
def test_the_layer_is_a_mismatch_without_piston_and_defocus(objective: Objective) -> None:
    grid = WaveGrid(objective, 12, 24)
    phase, deep = layer_phase(objective, grid, 775.0), of_the_mismatch(objective, grid, 250.0)
    moving = np.stack([np.ones(len(grid)), grid.direction[:, 2]], axis=1)
    power = grid.area * objective.amplitude(grid.direction[:, 2]) ** 2
    np.testing.assert_allclose(moving.T @ (power * phase), 0, atol=1e-12)
    difference = deep - 250.0 * phase
    left = difference - moving @ np.linalg.lstsq(moving, difference, rcond=None)[0]
    np.testing.assert_allclose(left, 0, atol=1e-9)
    assert np.sqrt(power @ phase**2 / power.sum()) * 250 > 0.01


def test_a_layer_makes_the_focus_of_a_shallow_sample() -> None:
    """But for the shift along z, which the sample's own focus has."""
    layered = Focus(GLYCEROL, Beam(), MODES, TARGETS, free={LAYER: 400.0}, tolerance=1e-5, strength_waves=0.12)
    sample = GLYCEROL.model_copy(update={"sample_depth_nm": 400.0})
    deep = Focus(sample, Beam(), MODES, TARGETS, tolerance=1e-5, strength_waves=0.12)
    fitted = 400.0 * layer_phase(GLYCEROL, layered.grid, 775.0)
    kz = GLYCEROL.wavenumber(775.0) * layered.grid.direction[:, 2]
    shift = np.polyfit(kz, of_the_mismatch(GLYCEROL, layered.grid, 400.0) - fitted, 1)[0]
    found = layered(torch.tensor([[0.04, -0.05, 0.03, 0.0, 0.0, 0.0, 400.0]]))
    reference = deep(torch.tensor([[0.04, -0.05, 0.03, 0.0, 0.0, shift]]))
    plain = layered(torch.tensor([[0.04, -0.05, 0.03, 0.0, 0.0, 0.0, 0.0]]))
    for ours, theirs, without in zip(found, reference, plain, strict=True):
        ours, theirs = ours / layered.scale, theirs / deep.scale
        assert torch.linalg.norm(ours - theirs) < 3e-4 * torch.linalg.norm(theirs)
        assert torch.linalg.norm(without / layered.scale - theirs) > 5e-3 * torch.linalg.norm(theirs)


@pytest.mark.parametrize("drifting", [False, True])
@pytest.mark.parametrize("beam", [Beam(), Beam(overlay=Overlay())], ids=["vortex", "overlay"])
def test_the_jacobian_with_a_layer_is_that_of_automatic_differentiation(beam: Beam, drifting: bool) -> None:
    free = {"pixel_error_x": 0.05, LAYER: 300.0, "blur_nm2": 400.0}
    focus = Focus(Objective(), beam, MODES, TARGETS, free=free, drifting=drifting, tolerance=1e-2, strength_waves=0.1)
    row = focus.rest + 0.02 * torch.arange(len(focus.rest), dtype=torch.float64).cos()
    row[-len(free) :] = torch.tensor([0.02, 150.0, 200.0])
    rows = torch.stack([row, focus.rest])
    values, slopes = focus.jacobian(rows)
    for index, (value, slope) in enumerate(zip(values, slopes, strict=True)):
        assert torch.allclose(value, focus(rows)[index], atol=1e-12)
        automatic = torch.func.jacfwd(lambda given, index=index: focus(given)[index])(rows)
        for row in range(2):
            expected = automatic[row, :, row].T
            assert torch.allclose(slope[row], expected, atol=1e-9 * float(expected.abs().max()))
