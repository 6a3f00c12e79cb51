import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optics_reference import dense_waves

from stedalign.focusing.pupil_quadrature import PlaneWaves, plane_waves
from stedalign.focusing.wave_grid import WaveGrid
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Bivortex, Flat, HalfMoon, TopHat, Vortex
from stedalign.optics.polarization import Polarization

OBJECTIVE = Objective()
GRID = WaveGrid(OBJECTIVE, 20, 72)
ROUGH = [
    Beam(pattern=Vortex(mask_offset=(0.3, -0.1))),
    Beam(pattern=Vortex(charge=-2), fill=0.7, fill_center=(0.1, -0.3)),
    Beam(pattern=TopHat(ring_radius=0.6, step_waves=0.4, mask_offset=(-0.2, 0.2))),
    Beam(pattern=Bivortex(ring_radius=0.5, mask_offset=(0.0, 0.4))),
    Beam(pattern=HalfMoon(mask_rotation_deg=25.0, mask_offset=(0.1, 0.3))),
    Beam(pattern=Flat(), polarization=Polarization(kind="radial")),
]


def waves_on_the_grid(grid, amplitude):
    """Plane waves (1, 3, J) that are the grid's own."""
    q = torch.from_numpy(grid.direction.T / OBJECTIVE.sine)[:, None]
    return PlaneWaves(q[0], q[1], q[2], q[0], q[1], torch.ones_like(q[0]), amplitude)


def random_amplitude(size, seed=0):
    return torch.randn(size, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("mapping", ["sine", "tangent"])
@pytest.mark.parametrize("beam", ROUGH, ids=lambda beam: f"{beam.pattern.kind}-{beam.polarization.kind}")
def test_smooth_functions_integrate_on_the_grid_as_against_the_rough_beam(beam, mapping):
    objective = Objective(mapping="sine" if beam.pattern.kind == "half_moon" else mapping)
    grid = WaveGrid(objective, 28, 72)
    x, y, k, dense = dense_waves(objective, beam)
    points = np.random.default_rng(0).uniform(-600, 600, size=(20, 3))

    def smooth(x, y, k):
        return np.exp(1j * (k @ points.T)) * np.exp(1j * (3 * x**3 - y**2 * x + y))[:, None]

    amplitude = grid.project(plane_waves(objective, beam, 60, 120))[0].numpy()
    found = amplitude @ smooth(*grid.pupil_points, objective.wavenumber(beam.wavelength_nm) * grid.direction)
    reference = dense @ smooth(x, y, k)
    assert np.linalg.norm(found - reference) < 1e-6 * np.linalg.norm(reference)


def test_the_grids_own_waves_stay_as_they_are():
    amplitude = random_amplitude((1, 3, len(GRID)))
    torch.testing.assert_close(GRID.project(waves_on_the_grid(GRID, amplitude)), amplitude, rtol=1e-9, atol=1e-9)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_projection_is_linear(first, second):
    waves = plane_waves(OBJECTIVE, ROUGH[0], 12, 24)
    one, other = random_amplitude(waves.amplitude.shape, 1), random_amplitude(waves.amplitude.shape, 2)
    together = GRID.project(waves._replace(amplitude=first * one + second * other))
    apart = (GRID.project(waves._replace(amplitude=part)) for part in (one, other))
    torch.testing.assert_close(together, first * next(apart) + second * next(apart), rtol=1e-9, atol=1e-9)


def test_a_batch_is_projected_beam_by_beam():
    waves = plane_waves(OBJECTIVE, ROUGH[0], 12, 24, {"mask_offset_x": torch.tensor([0.0, 0.3]).double()})
    alone = [GRID.project(PlaneWaves(*(part[index : index + 1] for part in waves))) for index in range(2)]
    torch.testing.assert_close(GRID.project(waves), torch.cat(alone))


def test_four_quadrants_follow_each_other_as_mirror_images():
    quadrants = GRID.direction.reshape(2, 2, -1, 3)
    assert (quadrants[0, 0] > 0).all()
    for left, below in np.ndindex(2, 2):
        mirrored = quadrants[0, 0] * [1 - 2 * left, 1 - 2 * below, 1]
        np.testing.assert_allclose(quadrants[left, below], mirrored, atol=1e-14)


def test_the_nodes_share_out_the_whole_cap():
    assert GRID.area.sum() == pytest.approx(2 * np.pi * (1 - np.sqrt(1 - OBJECTIVE.sine**2)), rel=1e-3)
    np.testing.assert_allclose(np.linalg.norm(GRID.direction, axis=1), 1)
    assert np.hypot(*GRID.pupil_points).max() < 1
    assert len(GRID) == 20 * 72


@pytest.mark.parametrize("azimuthal", [6, 41, 70])
def test_rays_that_are_not_a_multiple_of_four_are_refused(azimuthal):
    with pytest.raises(ValueError, match=f"come in fours, got {azimuthal}"):
        WaveGrid(OBJECTIVE, 10, azimuthal)
