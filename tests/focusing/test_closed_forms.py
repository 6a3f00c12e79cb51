"""Foci that can be written down: scalar diffraction at low NA, and the center of a sharp focus."""

import numpy as np
import pytest
from scipy.special import ive, jv, struve

from stedalign.focusing.focus import Focus
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat, TopHat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.targets import AXES, Grid, Line
from stedalign.optics.wavefront import ModeSet

NA, WAVELENGTH_NM = 0.02, 775.0
DRY = Objective(na=NA, immersion_index=1.0, focal_length_mm=10, back_aperture_mm=0.4)
V = np.linspace(0.05, 14, 120)
"""Optical units k NA r."""


def intensity(objective, beam, axis, positions_nm):
    line = Grid((Line(AXES[axis], positions_nm),), np.zeros(3))
    focus = Focus(objective, beam, ModeSet.of([(2, 2)]), [line], tolerance=1e-6).double()
    return focus(focus.rest[None])[0][0].numpy() / float(focus.scale)


def across(beam):
    """|integral_0^1 A(r) J(v r) r dr|^2 at ``V``, as the engine has it."""
    return intensity(DRY, beam, "x", V * WAVELENGTH_NM / (2 * np.pi * NA)) / (2 * np.pi * NA**2) ** 2


def vortex_1(v):
    return np.pi / (2 * v) * (jv(1, v) * struve(0, v) - jv(0, v) * struve(1, v))


def vortex_2(v):
    return (2 - 2 * jv(0, v) - v * jv(1, v)) / v**2


@pytest.mark.parametrize(
    ("pattern", "closed_form"),
    [
        (Flat(), lambda v: jv(1, v) / v),
        (Vortex(charge=1), vortex_1),
        (Vortex(charge=-2), vortex_2),
        (TopHat(ring_radius=0.6), lambda v: (jv(1, v) - 2 * 0.6 * jv(1, 0.6 * v)) / v),
    ],
    ids=["flat", "vortex 1", "vortex -2", "top_hat"],
)
def test_a_uniform_fill_at_low_na_meets_the_hankel_transform_of_its_mask(pattern, closed_form):
    expected = closed_form(V) ** 2
    np.testing.assert_allclose(across(Beam(pattern=pattern)), expected, atol=2e-4 * expected.max())


@pytest.mark.parametrize("charge", [1, -1])
def test_a_gaussian_vortex_at_low_na_meets_the_difference_of_modified_bessel_functions(charge):
    fill = 0.25
    u = (V * fill) ** 2 / 8
    expected = (np.sqrt(np.pi) / 8 * V * fill**3 * (ive(0, u) - ive(1, u))) ** 2
    found = across(Beam(pattern=Vortex(charge=charge), fill=fill))
    np.testing.assert_allclose(found, expected, atol=2e-4 * expected.max())


def test_a_gaussian_spot_at_low_na_is_a_gaussian():
    fill = 0.25
    expected = (fill**2 / 2 * np.exp(-((V * fill) ** 2) / 4)) ** 2
    np.testing.assert_allclose(across(Beam(pattern=Flat(), fill=fill)), expected, atol=2e-4 * expected.max())


def test_the_axis_of_a_flat_spot_at_low_na_is_a_squared_sinc():
    z = np.linspace(-8e6, 8e6, 81)
    found = intensity(DRY, Beam(pattern=Flat()), "z", z)
    np.testing.assert_allclose(found / found.max(), np.sinc(NA**2 * z / (2 * WAVELENGTH_NM)) ** 2, atol=1e-3)


@pytest.mark.parametrize("na", [0.7, 1.2, 1.49])
def test_the_center_of_a_sharp_spot_has_the_field_of_richards_and_wolf(na):
    # I_0(0) = integral of sqrt(cos) (1 + cos) sin from 0 to alpha, times pi.
    objective, c = Objective(na=na, back_aperture_mm=3.6 * na), np.sqrt(1 - (na / 1.518) ** 2)
    expected = (np.pi * (2 / 3 * (1 - c**1.5) + 2 / 5 * (1 - c**2.5))) ** 2
    linear = Polarization(ellipticity_deg=0.0, azimuth_deg=30.0)
    found = intensity(objective, Beam(pattern=Flat(), polarization=linear), "x", np.array([0.0]))
    assert found[0] == pytest.approx(expected, rel=1e-6)


def test_the_center_of_a_radial_spot_is_axial_with_the_textbook_strength():
    # Integral of sqrt(cos) sin^2 from 0 to alpha, times 2 pi, all along z (Youngworth and Brown 2000, eq. 6).
    objective = Objective()
    node, weight = np.polynomial.legendre.leggauss(60)
    theta = np.arcsin(objective.sine) * (node + 1) / 2
    expected = (np.pi * np.arcsin(objective.sine) * weight @ (np.sqrt(np.cos(theta)) * np.sin(theta) ** 2)) ** 2
    radial = Beam(pattern=Flat(), polarization=Polarization(kind="radial"))
    assert intensity(objective, radial, "x", np.array([0.0]))[0] == pytest.approx(expected, rel=1e-6)
