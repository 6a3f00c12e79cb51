import numpy as np
import pytest
import torch
from optics_reference import dense_intensity

from stedalign.focusing.focus import Focus
from stedalign.focusing.pupil_quadrature import sample_pupil
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Vortex
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.default()
SMALL = Sampling(samples=16, pixel_nm=(60.0, 60.0, 80.0))


def small_focus(**changes):
    return Focus(Objective(), Beam(), MODES, SMALL.targets(), tolerance=1e-6, **changes).double()


@pytest.fixture(scope="module")
def focus():
    return small_focus()


def random_parameters(count, waves=0.05, shift_nm=40.0, seed=0):
    generator = np.random.default_rng(seed)
    shifts = generator.normal(size=(count, 3)) * shift_nm
    return torch.tensor(np.concatenate([generator.normal(size=(count, len(MODES))) * waves, shifts], axis=1))


def test_twenty_random_wavefronts_meet_the_dense_quadrature_to_1e_4_in_every_section():
    generator = np.random.default_rng(1)
    wavefronts = [Wavefront(MODES, tuple(generator.uniform(-0.1, 0.1, len(MODES)))) for _ in range(20)]
    sampling = Sampling()
    points = sampling.points_nm()
    plan = Focus(Objective(), Beam(), MODES, sampling.targets(), tolerance=1e-4)
    parameters = torch.tensor([[*wavefront.waves, 0, 0, 0] for wavefront in wavefronts])
    found = [plane.double().numpy() for plane in plan(parameters)]
    some = np.random.default_rng(2).permutation(sampling.samples**2)[:600]
    for plane, where in zip(found, points, strict=True):
        reference = dense_intensity(Objective(), Beam(), wavefronts, where[some]) * float(plan.scale)
        error = np.linalg.norm(plane[:, some] - reference, axis=1) / np.linalg.norm(reference, axis=1)
        assert error.max() <= 1e-4


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5, 1e-6])
def test_the_asked_tolerance_is_met(tolerance):
    generator = np.random.default_rng(3)
    wavefronts = [Wavefront(MODES, tuple(generator.normal(scale=0.06, size=len(MODES)))) for _ in range(5)]
    points = SMALL.points_nm()
    plan = Focus(Objective(), Beam(), MODES, SMALL.targets(), tolerance=tolerance).double()
    found = torch.cat(plan(torch.tensor([[*w.waves, 0, 0, 0] for w in wavefronts], dtype=torch.float64)), dim=1).numpy()
    reference = dense_intensity(Objective(), Beam(), wavefronts, np.concatenate(points)) * float(plan.scale)
    error = np.linalg.norm(found - reference, axis=1) / np.linalg.norm(reference, axis=1)
    assert error.max() <= tolerance


@pytest.mark.parametrize("offset", [(0.1, -0.06), (-0.3, 0.2)])
def test_nodes_around_a_displaced_mask_give_the_focus_of_a_dense_cartesian_pupil(offset):
    beam = Beam(pattern=Vortex(mask_offset=offset))
    points = np.random.default_rng(0).uniform(-500, 500, size=(60, 3))
    found = (np.abs(sample_pupil(Objective(), beam, 40, 90).field(points)) ** 2).sum(axis=0)
    # Gauss-Legendre along chords: dense, Cartesian, and blind to where the mask's core lies.
    objective, count = Objective(), 700
    node, weight = np.polynomial.legendre.leggauss(count)
    angle = np.pi / 2 * node
    y, half = np.sin(angle), np.cos(angle)
    x = half[:, None] * np.sin(angle)
    area = (np.pi / 2 * weight * np.cos(angle))[:, None] * (half[:, None] * np.pi / 2 * weight * np.cos(angle))
    y = np.broadcast_to(y[:, None], x.shape)
    cosine = np.sqrt(1 - objective.sine**2 * (x**2 + y**2))
    pupil = objective.sine**2 * area / np.sqrt(cosine) * np.exp(1j * beam.pattern.phase(x, y))
    jx, jy = beam.polarization.jones
    sx, sy = objective.sine * x, objective.sine * y
    radial = (sx * jx + sy * jy) / (1 + cosine)
    polarized = np.stack([jx - sx * radial, jy - sy * radial, -(sx * jx + sy * jy)]) * pupil
    k = objective.wavenumber(beam.wavelength_nm)
    reference = np.zeros(len(points))
    for index, point in enumerate(points):
        kernel = np.exp(1j * k * (sx * point[0] + sy * point[1] + cosine * point[2]))
        reference[index] = (np.abs((polarized * kernel).sum(axis=(1, 2))) ** 2).sum()
    np.testing.assert_allclose(found, reference, atol=2e-3 * reference.max())


def test_an_intensity_of_one_is_the_crest_of_the_unaberrated_focus(focus):
    ideal = torch.cat(focus(torch.zeros(1, len(MODES) + 3, dtype=torch.float64)), dim=1)
    assert float(ideal.max()) == pytest.approx(1)


def test_a_batch_equals_its_loop(focus):
    parameters = random_parameters(5)
    together = torch.stack(focus(parameters))
    alone = torch.stack([torch.stack(focus(row[None]))[:, 0] for row in parameters], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-14)


def test_autograd_matches_finite_differences(focus):
    parameters = random_parameters(1).requires_grad_()
    torch.autograd.gradcheck(
        lambda p: sum(plane[:, ::37].sum() * (i + 1) for i, plane in enumerate(focus(p))), parameters
    )


def test_the_analytic_jacobian_is_the_autograd_jacobian(focus):
    parameters = random_parameters(2)
    with torch.no_grad():
        values, derivatives = focus.jacobian(parameters)
    torch.testing.assert_close(torch.stack(values), torch.stack(focus(parameters)))
    weight = torch.rand(3, 2, SMALL.samples**2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parameters.requires_grad_()
    (torch.stack(focus(parameters)) * weight).sum().backward()
    weighted = (torch.stack(derivatives) * weight[:, :, None]).sum(dim=(0, 3))
    torch.testing.assert_close(weighted, parameters.grad, rtol=1e-9, atol=1e-11)


def test_single_and_double_precision_agree_to_1e_5(focus):
    parameters = random_parameters(3)
    single = small_focus().float()
    difference = torch.cat(single(parameters.float()), dim=1).double() - torch.cat(focus(parameters), dim=1)
    assert float(difference.abs().max()) < 1e-5


@pytest.mark.parametrize(("axis", "shift_nm"), [(0, 90.0), (1, -60.0), (2, 120.0)])
def test_a_shift_parameter_moves_the_image_by_that_many_nm(axis, shift_nm):
    points = SMALL.points_nm()
    moved = small_focus()(
        torch.tensor([[0.0] * len(MODES) + [shift_nm if a == axis else 0.0 for a in range(3)]]).double()
    )
    back = np.zeros(3)
    back[axis] = shift_nm
    reference = dense_intensity(Objective(), Beam(), [Wavefront.zero(MODES)], np.concatenate(points) - back)[0]
    found = torch.cat(moved, dim=1)[0].numpy()
    np.testing.assert_allclose(found / found.max(), reference / reference.max(), atol=1e-5)


def test_a_bead_averages_the_intensity_over_its_ball():
    diameter, points = 150.0, SMALL.points_nm()
    with_bead = small_focus(bead_diameter_nm=diameter)
    point_like = small_focus()
    parameters = random_parameters(1)
    pupil = sample_pupil(Objective(), Beam(), 30, 60)
    phase = pupil_phase(pupil, parameters[0].numpy())
    where = np.concatenate(points)[::29]
    # A product rule over the ball: Gauss-Legendre in radius and height, trapezoid around.
    node, weight = np.polynomial.legendre.leggauss(6)
    radius, radial_weight = (node + 1) / 2, weight * ((node + 1) / 2) ** 2
    ball, total = np.zeros(len(where)), 0.0
    for r, wr in zip(radius, radial_weight, strict=True):
        for height, wh in zip(node, weight, strict=True):
            for angle in 2 * np.pi * np.arange(10) / 10:
                ring = np.sqrt(1 - height**2)
                step = diameter / 2 * r * np.array([ring * np.cos(angle), ring * np.sin(angle), height])
                ball += wr * wh * (np.abs(pupil.field(where - step, phase)) ** 2).sum(axis=0)
                total += wr * wh
    found = torch.cat(with_bead(parameters), dim=1)[0].numpy()[::29] / float(with_bead.scale)
    plain = torch.cat(point_like(parameters), dim=1)[0].numpy()[::29] / float(point_like.scale)
    assert np.linalg.norm(plain - ball / total) > 0.02 * np.linalg.norm(plain)
    np.testing.assert_allclose(found, ball / total, atol=1e-5 * found.max())


def pupil_phase(pupil, parameters):
    waves, shift = parameters[: len(MODES)], parameters[len(MODES) :]
    return 2 * np.pi * MODES.polynomials(pupil.x, pupil.y) @ waves - pupil.k @ shift


def test_odd_numbers_of_samples_work():
    sampling = Sampling(samples=9, pixel_nm=(80.0, 80.0, 80.0))
    plan = Focus(Objective(), Beam(), MODES, sampling.targets(), tolerance=1e-6).double()
    parameters = random_parameters(1)
    reference = dense_intensity(
        Objective(),
        Beam(),
        [Wavefront(MODES, tuple(parameters[0, :11].tolist()))],
        np.concatenate(sampling.points_nm()) - parameters[0, 11:].numpy(),
    )[0]
    found = torch.cat(plan(parameters), dim=1)[0].numpy()
    np.testing.assert_allclose(found, reference * float(plan.scale), atol=1e-6)


def test_a_field_too_wide_for_the_tolerance_is_refused():
    wide = Sampling(samples=64, pixel_nm=(1000.0,) * 3)
    with (
        pytest.warns(UserWarning, match="Nyquist"),
        pytest.raises(ValueError, match="31500 nm from the focus is too wide"),
    ):
        Focus(Objective(), Beam(), MODES, wide.targets(), tolerance=1e-4, strength_waves=0.1)


@pytest.mark.parametrize("pixel_nm", [20.0, 120.0])
def test_the_tolerance_holds_for_narrow_and_wide_fields(pixel_nm):
    sampling = Sampling(samples=32, pixel_nm=(pixel_nm,) * 3)
    wavefront = Wavefront(MODES, tuple(np.random.default_rng(5).normal(scale=0.05, size=len(MODES))))
    plan = Focus(Objective(), Beam(), MODES, sampling.targets(), tolerance=1e-4)
    found = torch.cat(plan(torch.tensor([[*wavefront.waves, 0, 0, 0]])), dim=1)[0].double().numpy()
    some = np.random.default_rng(6).integers(3 * 32**2, size=400)
    where = np.concatenate(sampling.points_nm())[some]
    reference = dense_intensity(Objective(), Beam(), [wavefront], where)[0] * float(plan.scale)
    assert np.linalg.norm(found[some] - reference) <= 1e-4 * np.linalg.norm(reference)
