"""What light does, asked of the path that users take: a setup and a wavefront go in, an intensity comes out."""

import numpy as np
import pytest
import torch
from scipy.special import j1

import stedalign as sa
from stedalign.focusing.focus import Focus
from stedalign.imaging.images import Sampling
from stedalign.optics.objective import Objective
from stedalign.optics.targets import Points, section

# A pixel on the axis, so that the crest of a spot is its peak.
SETUP = sa.Setup(sampling=Sampling(samples=17, pixel_nm=(60.0, 60.0, 60.0)))
DONUT = SETUP.depletion
SPOT = DONUT.model_copy(update={"pattern": SETUP.excitation.pattern})
"""The depletion beam without a mask."""
DRY = Objective(na=0.1, immersion_index=1.0, focal_length_mm=10, back_aperture_mm=2)
WAVELENGTH_NM = DONUT.wavelength_nm


def intensity(beam, target, wavefront=None, objective=SETUP.objective):
    """Of a focus of ``beam`` on ``target``, relative to the crest without aberrations."""
    setup = SETUP.model_copy(update={"depletion": beam, "objective": objective})
    return sa.focus_on(setup, aberrated() if wavefront is None else wavefront, target)


def aberrated(mode=(2, 2), waves=0.0):
    return sa.Wavefront(sa.ModeSet.of([mode]), (waves,))


def vortex(charge, ellipticity_deg):
    return DONUT.model_copy(
        update={
            "pattern": DONUT.pattern.model_copy(update={"charge": charge}),
            "polarization": DONUT.polarization.model_copy(update={"ellipticity_deg": ellipticity_deg}),
        }
    )


def brightest_nm(wavefront, axis, reach_nm, objective=SETUP.objective):
    """Where the spot is brightest along x, y or z."""
    line = section(axis, [801], [reach_nm / 400])
    return (int(intensity(SPOT, line, wavefront, objective).argmax()) - 400) * reach_nm / 400


@pytest.mark.parametrize(("mode", "axis"), [((1, 1), "x"), ((1, -1), "y")])
def test_tip_and_tilt_move_the_focus_against_their_slope_by_two_wavelengths_over_na_per_rms_wave(mode, axis):
    expected = -0.15 * 2 * WAVELENGTH_NM / SETUP.objective.na
    assert brightest_nm(aberrated(mode, 0.15), axis, 400) == pytest.approx(expected, abs=1)
    across = "y" if axis == "x" else "x"
    assert brightest_nm(aberrated(mode, 0.15), across, 400) == 0


def test_positive_defocus_moves_the_focus_downstream_by_the_low_na_formula():
    # Phase 2 pi c sqrt(3) 2 rho^2 cancels -k n z NA^2 rho^2 / (2 n^2) at z = 4 sqrt(3) c wavelength n / NA^2.
    expected = 4 * np.sqrt(3) * 0.1 * WAVELENGTH_NM / DRY.na**2
    assert brightest_nm(aberrated((2, 0), 0.1), "z", 100_000, DRY) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("charge", "ellipticity_deg"), [(1, 45), (-1, -45)])
def test_matching_handedness_gives_a_zero_and_the_opposite_one_fills_it(charge, ellipticity_deg):
    line = section("x", [201], [6.0])
    matched, opposite = (intensity(vortex(charge, chi), line) for chi in (ellipticity_deg, -ellipticity_deg))
    assert matched[100] < 1e-6 * matched.max()
    assert opposite[100] > 0.3 * opposite.max()


@pytest.mark.parametrize("charge", [1, -1])
def test_astigmatism_brightens_the_donut_on_the_diagonal_that_the_vortex_turns_it_to(charge):
    # Near the axis a vortex exp(i charge phi) with i a rho^2 cos(2 phi) has the field A exp(i charge phi)
    # + i a C exp(-i charge phi), with A and C > 0: the intensity has the term 2 a A C sin(2 charge phi).
    diagonals = Points(50 * np.array([[1.0, 1, 0], [-1, -1, 0], [1, -1, 0], [-1, 1, 0]]))
    rising, same, falling, _ = intensity(vortex(charge, 45 * charge), diagonals, aberrated((2, 2), 0.03))
    assert rising == pytest.approx(same, rel=1e-4)
    assert charge * (rising - falling) > 0.3 * (rising + falling) / 2


def test_a_mirrored_microscope_makes_the_mirrored_image():
    plane = section("yx", [33, 33], [40.0, 40.0])
    modes = sa.ModeSet.of([(2, -2), (3, 1), (3, -3)])
    image = intensity(vortex(1, 45), plane, sa.Wavefront(modes, (0.04, 0.03, -0.05)))
    mirror = intensity(vortex(-1, -45), plane, sa.Wavefront(modes, (-0.04, 0.03, 0.05)))
    np.testing.assert_allclose(mirror[::-1], image, atol=1e-6)
    assert np.abs(mirror - image).max() > 0.1


@pytest.mark.parametrize("beam", [DONUT, SPOT], ids=["donut", "spot"])
def test_power_is_conserved_from_pupil_to_focus_whatever_the_aberration(beam):
    # Parseval: the integral of |E|^2 over a plane is (2 pi / k)^2 times the solid angle. Pixels that are finer than
    # the intensity's Nyquist sum to the integral; some percent lie outside the field.
    objective, pixel_nm = SETUP.objective, 130.0
    modes = sa.ModeSet.of([(2, 2), (2, 0)])
    plane = section("yx", [47, 47], [pixel_nm, pixel_nm])
    focus = Focus(objective, beam, modes, [plane], tolerance=1e-3, strength_waves=0.2).double()
    wavefronts = torch.zeros(3, len(focus.rest), dtype=torch.float64)
    wavefronts[1, 0], wavefronts[2, :2] = 0.1, torch.tensor([0.1, -0.1])
    power = focus(wavefronts)[0].sum(dim=1) / focus.scale * pixel_nm**2
    k = objective.wavenumber(beam.wavelength_nm)
    expected = (2 * np.pi / k) ** 2 * 2 * np.pi * (1 - np.sqrt(1 - objective.sine**2))
    np.testing.assert_allclose(power / expected, 1, atol=0.05)
    np.testing.assert_allclose(power / power[0], 1, atol=0.01)


def test_low_na_meets_the_airy_pattern():
    line = section("x", [200], [90.0])
    v = 2 * np.pi * DRY.na * line.points_nm[:, 0] / WAVELENGTH_NM
    np.testing.assert_allclose(intensity(SPOT, line, objective=DRY), (2 * j1(v) / v) ** 2, atol=2e-3)


@pytest.mark.parametrize("mode", [(2, 2), (3, 1), (4, 0)])
@pytest.mark.parametrize("waves", [0.02, 0.05])
def test_small_aberrations_follow_the_strehl_law(mode, waves):
    center = Points(np.zeros((1, 3)))
    aberration, none = (intensity(SPOT, center, aberrated(mode, w), DRY) for w in (waves, 0.0))
    assert aberration[0] / none[0] == pytest.approx(np.exp(-((2 * np.pi * waves) ** 2)), abs=2e-3)
