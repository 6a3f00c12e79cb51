import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stedalign.optics.zernike import Mode

# Thibos et al. 2002, Table 1 (OSA/ANSI), and Noll 1976, Table I, copied as (n, m).
ANSI = [(0, 0), (1, -1), (1, 1), (2, -2), (2, 0), (2, 2), (3, -3), (3, -1), (3, 1), (3, 3), (4, -4), (4, -2), (4, 0)]
NOLL = [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0), (4, 2), (4, -2)]


@pytest.mark.parametrize(("ansi", "pair"), list(enumerate(ANSI)))
def test_ansi_numbers_match_the_standard(ansi, pair):
    assert Mode.from_ansi(ansi) == Mode(*pair)
    assert Mode(*pair).ansi == ansi


@pytest.mark.parametrize(("noll", "pair"), list(enumerate(NOLL, start=1)))
def test_noll_numbers_match_the_table(noll, pair):
    assert Mode.from_noll(noll) == Mode(*pair)
    assert Mode(*pair).noll == noll


@given(st.integers(0, 495))
def test_index_conversions_invert_each_other(number):
    assert Mode.from_ansi(number).ansi == number
    assert Mode.from_noll(number + 1).noll == number + 1


@pytest.mark.parametrize("pair", [(-1, 1), (2, 1), (2, 4), (3, -5)])
def test_impossible_modes_are_refused(pair):
    with pytest.raises(ValueError, match="not a Zernike mode"):
        Mode(*pair)


@pytest.mark.parametrize("pair", [(32, 0), (10**12, 0), (31, -31)])
def test_modes_too_fine_for_any_pupil_are_refused_with_the_range(pair):
    with pytest.raises(ValueError, match="between 0 and 30"):
        Mode(*pair)


@pytest.mark.parametrize("pair", [(True, True), (2.0, 0), (False, False)])
def test_orders_are_whole_numbers(pair):
    with pytest.raises(ValueError, match="not a Zernike mode"):
        Mode(*pair)


def test_noll_zero_and_negative_ansi_are_refused():
    with pytest.raises(ValueError, match="count from 1"):
        Mode.from_noll(0)
    with pytest.raises(ValueError, match="count from 0"):
        Mode.from_ansi(-1)
    for number in (True, 2.5, float("nan")):
        with pytest.raises(ValueError, match="count from"):
            Mode.from_ansi(number)
        with pytest.raises(ValueError, match="count from"):
            Mode.from_noll(number)


def test_polynomials_are_orthonormal_on_the_disk():
    node, weight = np.polynomial.legendre.leggauss(24)
    rho, phi = (node + 1) / 2, 2 * np.pi * np.arange(48) / 48
    x, y = rho[:, None] * np.cos(phi), rho[:, None] * np.sin(phi)
    area = np.broadcast_to((weight * rho / 48)[:, None], x.shape)
    values = np.array([Mode.from_ansi(j).polynomial(x, y).ravel() for j in range(66)])
    np.testing.assert_allclose((values * area.ravel()) @ values.T, np.eye(66), atol=1e-12)


@pytest.mark.parametrize(
    ("pair", "formula"),
    [
        ((1, 1), lambda r, p: 2 * r * np.cos(p)),
        ((1, -1), lambda r, p: 2 * r * np.sin(p)),
        ((2, 0), lambda r, p: np.sqrt(3) * (2 * r**2 - 1) + 0 * p),
        ((2, -2), lambda r, p: np.sqrt(6) * r**2 * np.sin(2 * p)),
        ((3, 1), lambda r, p: np.sqrt(8) * (3 * r**3 - 2 * r) * np.cos(p)),
        ((4, 0), lambda r, p: np.sqrt(5) * (6 * r**4 - 6 * r**2 + 1) + 0 * p),
        ((4, -2), lambda r, p: np.sqrt(10) * (4 * r**4 - 3 * r**2) * np.sin(2 * p)),
    ],
)
def test_polynomials_match_the_printed_formulas(pair, formula):
    r, p = np.linspace(0, 1, 9)[:, None], np.linspace(0, 6, 13)
    np.testing.assert_allclose(Mode(*pair).polynomial(r * np.cos(p), r * np.sin(p)), formula(r, p), atol=1e-13)


@given(st.integers(0, 60), st.floats(-1, 1), st.floats(-1, 1))
def test_numpy_and_torch_agree(ansi, x, y):
    mode = Mode.from_ansi(ansi)
    there = mode.polynomial(torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64))
    assert float(there[0]) == pytest.approx(float(mode.polynomial(np.array([x]), np.array([y]))[0]), abs=1e-12)


def test_the_edge_value_of_a_mode_is_its_norm():
    for mode in map(Mode.from_ansi, range(45)):
        phi = np.linspace(0, 2 * np.pi, 7201)
        assert mode.polynomial(np.cos(phi), np.sin(phi)).max() == pytest.approx(mode.norm, rel=1e-4)
