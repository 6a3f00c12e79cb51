import numpy as np
import pytest
import torch

from stedalign.focusing.field_kernels import FieldKernels
from stedalign.focusing.target_samples import TargetSamples
from stedalign.focusing.wave_grid import WaveGrid
from stedalign.optics.objective import Objective
from stedalign.optics.targets import Points, plane, section
from stedalign.optics.wavefront import ModeSet

OBJECTIVE = Objective()
GRID = WaveGrid(OBJECTIVE, 4, 8)
K = OBJECTIVE.wavenumber(775.0) * GRID.direction
BASIS = ModeSet.report12().polynomials(*GRID.pupil_points)
TARGETS = {
    "section": section("zx", (9, 8), (70, 50)),
    "volume": section("zyx", (4, 5, 6), (70, 60, 50)),
    "line": section("y", (9,), (50,)),
    "lifted": plane((0, 1, 0), (1, 0, 0), 5, 60.0, center_nm=(0, 0, 250)),
    "points": Points(np.random.default_rng(1).uniform(-300, 300, size=(4, 3))),
}


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def places(samples):
    """All places (mirror images x P, 3) of the samples."""
    if not samples.mirrored:
        return samples.points
    signs = np.ones((1, 3))
    for axis in samples.axes:
        signs = np.repeat(signs, 2, axis=0)
        signs[1::2, axis] = -1
    return (signs[:, None] * samples.points).reshape(-1, 3)


@pytest.mark.parametrize("names", [*([name] for name in TARGETS), list(TARGETS)], ids="+".join)
def test_intensity_and_slopes_are_those_of_the_sum_of_all_waves(names):
    targets = [TargetSamples(TARGETS[name], OBJECTIVE, 775.0, 1e-3) for name in names]
    kernels = FieldKernels(K, BASIS, targets)
    waves = draw(2, 3, 2, 5, len(GRID))
    complex_waves = torch.complex(*waves.unbind(2))
    steered = 1j * complex_waves[:, :1] * torch.from_numpy(BASIS.T[kernels.order][:, None])
    for samples, found, slopes in zip(targets, kernels(waves[:, 0]), kernels.slopes(waves), strict=True):
        kernel = torch.exp(1j * torch.from_numpy(K @ places(samples).T))
        field = complex_waves[:, 0] @ kernel
        torch.testing.assert_close(found.flatten(1), field.abs().square().sum(1))
        changes = torch.cat([complex_waves, steered], dim=1) @ kernel
        expected = 2 * (field.conj()[:, None] * changes).real.sum(2)
        torch.testing.assert_close(slopes.flatten(2), expected, rtol=1e-9, atol=1e-9)


def test_phases_without_a_parity_are_refused():
    tilted = (BASIS[:, 0] + BASIS[:, 4])[:, None]
    with pytest.raises(ValueError, match="odd or even in x and in y"):
        FieldKernels(K, tilted, [TargetSamples(TARGETS["section"], OBJECTIVE, 775.0, 1e-3)])
