import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.optics.zernike import Mode

DEFAULT = ModeSet.default()
coefficients = st.lists(st.floats(-0.5, 0.5), min_size=len(DEFAULT), max_size=len(DEFAULT))


def test_the_default_set_is_ansi_3_to_14_without_defocus():
    assert [mode.ansi for mode in DEFAULT] == [3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert [mode.ansi for mode in ModeSet.report12()] == list(range(3, 15))


@given(coefficients)
def test_peak_waves_convert_back_to_the_same_rms_waves(waves):
    wavefront = Wavefront(DEFAULT, tuple(waves))
    again = Wavefront.from_peak_waves(DEFAULT, wavefront.peak_waves)
    np.testing.assert_allclose(again.array, wavefront.array, atol=1e-15)


def test_one_peak_wave_of_spherical_is_one_over_root_five_rms():
    spherical = Wavefront.from_peak_waves(ModeSet((Mode(4, 0),)), [1.0])
    assert spherical.waves[0] == pytest.approx(1 / np.sqrt(5))


def test_seed_strength_of_the_report_is_120_milliwaves():
    # 0.1 peak waves on each of the 11 modes: root of the summed squares of 0.1 / norm.
    assert np.linalg.norm(0.1 / DEFAULT.norms) == pytest.approx(0.120, abs=0.001)


@given(coefficients, coefficients)
def test_residual_is_misalignment_plus_correction(first, second):
    a, b = Wavefront(DEFAULT, tuple(first)), Wavefront(DEFAULT, tuple(second))
    np.testing.assert_allclose((a + b).array, a.array + b.array)
    assert (a + -a).rms_waves == 0


def test_sum_of_different_mode_sets_lives_on_their_union():
    tilt = Wavefront(ModeSet((Mode(1, 1),)), (0.1,))
    defocus = Wavefront(ModeSet((Mode(2, 0),)), (0.2,))
    assert (tilt + defocus).modes.pairs == [[1, 1], [2, 0]]
    assert (tilt - defocus).waves == (0.1, -0.2)


def test_a_coefficient_without_a_place_is_not_dropped_silently():
    wavefront = Wavefront(ModeSet((Mode(2, 0),)), (0.2,))
    with pytest.raises(ValueError, match="no place for defocus"):
        wavefront.on(DEFAULT)


def test_piston_does_not_count_in_the_rms():
    assert Wavefront(ModeSet((Mode(0, 0), Mode(2, 2))), (5.0, 0.3)).rms_waves == pytest.approx(0.3)


@pytest.mark.parametrize("waves", [(0.1,), (float("nan"),) * 11, (float("inf"),) * 11])
def test_wrong_coefficients_are_refused(waves):
    with pytest.raises(ValueError, match=r"coefficients"):
        Wavefront(DEFAULT, waves)


def test_repeated_and_empty_mode_sets_are_refused():
    with pytest.raises(ValueError, match="once"):
        ModeSet.from_ansi([3, 3])
    with pytest.raises(ValueError, match="at least one"):
        ModeSet(())


@pytest.mark.parametrize("waves", [[True], ["0.1"], [np.True_]])
def test_what_is_no_number_is_no_coefficient(waves):
    with pytest.raises(ValueError, match="numbers as coefficients"):
        Wavefront(ModeSet.of([(2, 2)]), waves)


def test_the_unit_of_a_file_is_honored_or_refused():
    data = {"modes": [[2, 2], [4, 0]], "waves": [0.1, -0.2]}
    assert Wavefront.from_json(data) == Wavefront.from_json(data | {"unit": "rms waves"})
    peak = Wavefront.from_json(data | {"unit": "peak waves"})
    np.testing.assert_allclose(peak.peak_waves, data["waves"])
    for unit in ("waves", "rad", None, 3, ["rms waves"]):
        with pytest.raises(ValueError, match=r"unit = .* is not known; known: 'rms waves' and 'peak waves'"):
            Wavefront.from_json(data | {"unit": unit})


@pytest.mark.parametrize("waves", [5.0, -2.001, 1e308])
def test_a_wavefront_of_a_file_beyond_range_is_refused_with_the_limit(waves):
    with pytest.raises(ValueError, match=r"waves: .* beyond range, at most 2 can be served"):
        Wavefront.from_json({"modes": [[2, 2]], "waves": [waves]})


@given(coefficients)
def test_json_brings_the_wavefront_back(waves):
    wavefront = Wavefront(DEFAULT, tuple(waves))
    assert Wavefront.from_json(wavefront.to_json()) == wavefront
