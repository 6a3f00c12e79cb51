import numpy as np
import pytest
from optics_reference import dense_intensity

from stedalign.focusing.pupil_quadrature import sample_pupil
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Bivortex, Flat, HalfMoon, TopHat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.optics.zernike import Mode

POINTS = np.random.default_rng(0).uniform(-500, 500, size=(40, 3))
CENTER = np.zeros((1, 3))
MAPPINGS = ("sine", "herschel", "uniform", "tangent")


def intensity(objective, beam, points=POINTS, radial=24, azimuthal=56, waves=0.05):
    pupil = sample_pupil(objective, beam, radial, azimuthal)
    phase = 2 * np.pi * waves * (Mode(3, 1).polynomial(pupil.x, pupil.y) + Mode(2, -2).polynomial(pupil.x, pupil.y))
    return (np.abs(pupil.field(points, phase)) ** 2).sum(axis=0)


def by_midpoints(objective, beam, count=900, waves=0.05):
    """Midpoint rule on a Cartesian pupil: blind to core, rings and edges, and so only good to about 1 %."""
    axis = (np.arange(count) + 0.5) / count * 2 - 1
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
    inside = (np.hypot(x, y) < 1) & (np.hypot(x, y) > beam.stop_radius)
    x, y = x[inside], y[inside]
    cosine = np.sqrt(1 - objective.sine**2 * (x**2 + y**2))
    phase = beam.pattern.phase(x, y) + 2 * np.pi * waves * (Mode(3, 1).polynomial(x, y) + Mode(2, -2).polynomial(x, y))
    scalar = (2 / count) ** 2 * objective.sine**2 / np.sqrt(cosine) * beam.envelope(x, y) * np.exp(1j * phase)
    jones = [real + 1j * imag for real, imag in beam.polarization.field(x, y)]
    sx, sy = objective.sine * x, objective.sine * y
    radial = sx * jones[0] + sy * jones[1]
    field = np.stack([jones[0] - sx * radial / (1 + cosine), jones[1] - sy * radial / (1 + cosine), -radial]) * scalar
    k = objective.wavenumber(beam.wavelength_nm) * np.stack([sx, sy, cosine])
    return np.array([(np.abs((field * np.exp(1j * point @ k)).sum(axis=1)) ** 2).sum() for point in POINTS])


@pytest.mark.parametrize(
    "beam",
    [
        Beam(pattern=TopHat()),
        Beam(pattern=TopHat(mask_offset=(0.2, -0.1), step_waves=0.4)),
        Beam(pattern=Bivortex(mask_offset=(0.0, 0.1), mask_scale=1.3)),
        Beam(pattern=HalfMoon(mask_rotation_deg=30.0)),
        Beam(pattern=HalfMoon(mask_rotation_deg=-70.0, mask_offset=(0.1, 0.2))),
        Beam(pattern=Vortex(charge=2), stop_radius=0.3),
        Beam(pattern=Flat(), fill=0.8, fill_center=(0.2, -0.3)),
        Beam(pattern=Flat(), polarization=Polarization(kind="radial")),
        Beam(pattern=Flat(), polarization=Polarization(kind="azimuthal")),
        Beam(polarization=Polarization(ellipticity_deg=20.0, azimuth_deg=35.0)),
    ],
    ids=lambda beam: f"{beam.pattern.kind}-{beam.polarization.kind}",
)
def test_every_beam_meets_a_midpoint_rule_on_a_cartesian_pupil(beam):
    reference = by_midpoints(Objective(), beam)
    found = intensity(Objective(), beam)
    assert np.linalg.norm(found - reference) < 0.015 * np.linalg.norm(reference)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(
    "pattern",
    [
        Vortex(mask_offset=(0.3, -0.2)),
        TopHat(mask_offset=(0.1, 0.1)),
        HalfMoon(),
        Bivortex(),
    ],
    ids=lambda pattern: pattern.kind,
)
@pytest.mark.parametrize(("na", "index"), [(0.7, 1.518), (1.4, 1.518), (1.2, 1.333)])
def test_the_rule_converges_spectrally_for_every_pattern_and_mapping(mapping, pattern, na, index):
    objective = Objective(na=na, immersion_index=index, back_aperture_mm=3.6 * na, mapping=mapping)
    beam = Beam(pattern=pattern)
    finest = intensity(objective, beam, radial=48, azimuthal=112)
    errors = [
        np.linalg.norm(intensity(objective, beam, radial=n, azimuthal=2 * n + 8) - finest) / np.linalg.norm(finest)
        for n in (14, 20, 26)
    ]
    assert errors[-1] < 1e-7
    assert errors[1] < max(0.1 * errors[0], 1e-11)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_a_mapping_conserves_the_energy_of_a_uniform_pupil(mapping):
    objective = Objective(mapping=mapping)
    alpha = np.arcsin(objective.sine)
    height = {"sine": np.sin(alpha), "herschel": 2 * np.sin(alpha / 2), "uniform": alpha, "tangent": np.tan(alpha)}
    pupil = sample_pupil(objective, Beam(pattern=Flat()), 40, 16)
    assert pupil.power == pytest.approx(np.pi * height[mapping] ** 2, rel=1e-6)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(
    ("apodization", "power"),
    # 2 pi times the integrals of cos sin and of sin from 0 to alpha.
    [
        ("sqrt_cosine", lambda alpha: np.pi * np.sin(alpha) ** 2),
        ("uniform", lambda alpha: 2 * np.pi * (1 - np.cos(alpha))),
    ],
)
def test_an_apodization_of_its_own_has_the_same_power_whatever_the_mapping(mapping, apodization, power):
    objective = Objective(mapping=mapping, apodization=apodization)
    pupil = sample_pupil(objective, Beam(pattern=Flat()), 40, 16)
    assert pupil.power == pytest.approx(power(np.arcsin(objective.sine)), rel=1e-6)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("apodization", ["energy", "sqrt_cosine", "uniform"])
def test_every_lens_meets_the_dense_quadrature(mapping, apodization):
    objective = Objective(mapping=mapping, apodization=apodization)
    beam = Beam(fill=1.2, pattern=Vortex(mask_offset=(0.2, -0.1)))
    wavefront = Wavefront(ModeSet.of([(3, 1), (2, -2)]), (0.05, 0.05))
    (reference,) = dense_intensity(objective, beam, [wavefront], POINTS, 60, 120)
    assert np.linalg.norm(intensity(objective, beam) - reference) < 1e-6 * np.linalg.norm(reference)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_pupil_radius_and_ray_angle_invert_each_other(mapping):
    objective, radius = Objective(mapping=mapping), np.linspace(0, 1, 11)
    np.testing.assert_allclose(objective.pupil_radius(objective.ray_sine(radius)), radius, atol=1e-12)


def test_a_top_hat_leaves_the_center_dark_between_two_bright_spots_on_the_axis():
    beam = Beam(pattern=TopHat())
    line = np.zeros((201, 3))
    line[:, 2] = np.linspace(-1500, 1500, 201)
    along = intensity(Objective(), beam, line, waves=0)
    assert along[100] < 1e-3 * along.max()
    assert along[:100].max() == pytest.approx(along[101:].max(), rel=1e-6)


def test_a_half_moon_leaves_a_dark_line_along_its_edge():
    beam = Beam(pattern=HalfMoon(), polarization=Polarization(ellipticity_deg=0, azimuth_deg=90))
    line = np.zeros((41, 3))
    line[:, 1] = np.linspace(-300, 300, 41)
    across = np.zeros((201, 3))
    across[:, 0] = np.linspace(-600, 600, 201)
    dark, bright = (intensity(Objective(), beam, points, waves=0) for points in (line, across))
    assert dark.max() < 0.02 * bright.max()
    assert dark[20] < 1e-12 * bright.max()


def test_radial_light_is_axial_in_the_center_and_azimuthal_light_is_dark_there():
    flat = Flat()
    radial, azimuthal = (
        sample_pupil(Objective(), Beam(pattern=flat, polarization=Polarization(kind=kind)), 24, 48).field(CENTER)[:, 0]
        for kind in ("radial", "azimuthal")
    )
    assert abs(radial[2]) > 1e6 * np.abs(radial[:2]).max()
    assert np.abs(azimuthal).max() < 1e-12 * abs(radial[2])


def test_a_sample_of_the_same_index_changes_nothing():
    same = Objective(sample_index=1.518, sample_depth_nm=5000)
    np.testing.assert_allclose(intensity(same, Beam()), intensity(Objective(), Beam()), rtol=1e-9)


def test_a_watery_sample_adds_the_path_difference_and_damps_waves_beyond_the_critical_angle():
    objective = Objective(sample_index=1.33, sample_depth_nm=1000)
    sine = np.array([0.0, 0.5, 0.9])
    damping, phase = objective.mismatch(sine, 775.0)
    factor = damping * np.exp(1j * phase)
    path = 1.33 * np.sqrt(1 - (1.518 * 0.5 / 1.33) ** 2) - 1.518 * np.sqrt(1 - 0.25)
    assert factor[0] == pytest.approx(np.exp(2j * np.pi * 1000 / 775 * (1.33 - 1.518)))
    assert factor[1] == pytest.approx(np.exp(2j * np.pi * 1000 / 775 * path))
    assert abs(factor[2]) < 0.1


@pytest.mark.parametrize(("back_aperture_mm", "mapping"), [(5.04, "sine"), (5.04, "tangent"), (13.0, "tangent")])
def test_a_back_aperture_is_the_nominal_one_or_that_of_the_mapping(back_aperture_mm, mapping):
    numbers = {"na": 1.4, "immersion_index": 1.518, "focal_length_mm": 1.8}
    assert Objective(back_aperture_mm=back_aperture_mm, mapping=mapping, **numbers).mapping == mapping


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vortex(charge=0), "charge that is not 0"),
        (lambda: TopHat(step_waves=0), "needs a phase step"),
        (lambda: Vortex(mask_offset=(0.4, 0.4)), "longer than 0.5"),
        (lambda: Objective(na=1.6), "smaller than immersion_index"),
        (lambda: Objective(back_aperture_mm=8), "disagrees with 2 x focal_length_mm x na = 5.04 by more than 5 %"),
        (
            lambda: Objective(back_aperture_mm=8, mapping="tangent"),
            r"na = 5\.04 and 2 x the pupil's radius by the mapping 'tangent' = 13 by more than 5 %",
        ),
        (lambda: Beam(stop_radius=0.1, pattern=Vortex(mask_offset=(0.2, 0))), "outside the central stop"),
        (lambda: Beam(power_w=0), "greater than 0"),
        (lambda: Beam(wavelength_nm=-775), "greater than"),
    ],
)
def test_impossible_optics_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
