import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stedalign.focusing.chebyshev import polynomials, slopes


@pytest.mark.parametrize("count", [2, 3, 4, 7, 14, 25])
def test_polynomials_are_those_of_numpy(count):
    place = np.linspace(-1.1, 1.1, 23)
    expected = np.polynomial.chebyshev.chebvander(place, count - 1)
    np.testing.assert_allclose(polynomials(torch.from_numpy(place), count), expected, rtol=1e-9, atol=1e-12)


@given(st.floats(-1, 1))
def test_slopes_are_those_of_autograd(place):
    x = torch.tensor(place, dtype=torch.float64)
    automatic = torch.autograd.functional.jacobian(lambda at: polynomials(at, 12), x)
    torch.testing.assert_close(slopes(polynomials(x, 12)), automatic, rtol=1e-9, atol=1e-9)
