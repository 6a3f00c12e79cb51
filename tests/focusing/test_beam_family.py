import pytest
import torch

from stedalign.focusing.beam_family import BeamFamily
from stedalign.focusing.pupil_quadrature import plane_waves
from stedalign.focusing.wave_grid import WaveGrid
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import pattern_class

RANGES = {
    "mask_offset_x": 0.15,
    "mask_offset_y": 0.15,
    "taper": 1.0,
    "fill_center_x": 0.1,
    "fill_center_y": 0.1,
    "leak_real": 0.14,
    "leak_imaginary": 0.14,
}
OBJECTIVE, RULE = Objective(), (24, 48)


def values(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(count, len(RANGES), generator=generator, dtype=torch.float64) - 1) * torch.tensor(
        list(RANGES.values()), dtype=torch.float64
    )


@pytest.fixture(scope="module", params=["vortex", "half_moon"])
def moving(request):
    grid = WaveGrid(OBJECTIVE, 16, 40)
    beam = Beam(pattern=pattern_class(request.param)())
    return BeamFamily(OBJECTIVE, beam, grid, RULE, RANGES, degree=10), beam, grid


def test_the_series_has_the_focus_of_the_beam_itself(moving):
    made, beam, grid = moving
    given = values()
    changes = dict(zip(RANGES, given.unbind(1), strict=True))
    exact = grid.project(plane_waves(OBJECTIVE, beam, *RULE, changes))
    real, imaginary = made(given).unbind(1)
    # Amplitudes differ where no target sees it: what counts is the field around the focus.
    draw = torch.Generator().manual_seed(1)
    points = 400 * (2 * torch.rand(50, 3, generator=draw, dtype=torch.float64) - 1)
    k = OBJECTIVE.wavenumber(beam.wavelength_nm) * torch.from_numpy(grid.direction)
    kernel = torch.exp(1j * (k @ points.T))
    field, expected = torch.complex(real, imaginary) @ kernel, exact @ kernel
    assert float((field - expected).abs().max() / expected.abs().max()) < 2e-4


def test_slopes_are_those_of_autograd(moving):
    made, _, _ = moving
    given = values(1)
    automatic = torch.autograd.functional.jacobian(lambda row: made(row[None])[0], given[0]).movedim(-1, 0)
    own, *slopes = made.with_slopes(given)[0]
    torch.testing.assert_close(own, made(given)[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.stack(slopes), automatic, rtol=1e-9, atol=1e-12)
