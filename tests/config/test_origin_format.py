"""The origin's own parameter file: its values arrive, and nothing in it is ever run."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest

from stedalign.config import Setup, SetupError
from stedalign.config.origin_format import setup_from_origin
from stedalign.jobs.focus import focus
from stedalign.optics.wavefront import ModeSet, Wavefront

STED = {
    "n": 1.5,
    "NA": 1.3,
    "f": 2.0,
    "transmittance": 0.8,
    "lambda": 592,
    "P_laser": 0.2,
    "rep_rate": 80e6,
    "pulse_length": 0.5e-9,
    "obj_ba": 5.2,
    "offset": 0.0,
}
GAUSS = STED | {"lambda": 488, "P_laser": 4e-6, "pulse_length": 1e-10, "offset": [0.13, -0.26]}
PARAMETERS = {"optical_params_sted": STED, "optical_params_gauss": GAUSS}


@pytest.fixture
def imported(tmp_path):
    """Import from text, or from parameters written as JSON."""

    def importing(content: object) -> Setup:
        path = tmp_path / "report.txt"
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        path.write_bytes(content)
        return setup_from_origin(path)

    return importing


@pytest.fixture
def refusal(imported, tmp_path):
    """The message with which a content is refused, less the file's name."""

    def refusing(content: object) -> str:
        with pytest.raises(SetupError) as caught:
            imported(content)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 300
        assert message.startswith(f"{tmp_path}/report.txt: ")
        return message.partition("report.txt: ")[2]

    return refusing


def with_sted(**changes: object) -> dict[str, dict[str, object]]:
    """The parameters with both beams changed alike, since they share one objective."""
    return {name: beam | changes for name, beam in PARAMETERS.items()}


@pytest.mark.parametrize("write", [repr, json.dumps, lambda value: f"\n  {value!r}\n# a comment\n"])
def test_python_and_json_give_the_same_setup(imported, write):
    assert imported(write(PARAMETERS)) == imported(PARAMETERS)


def test_the_objective_arrives(imported):
    objective = imported(PARAMETERS).objective
    assert (objective.immersion_index, objective.na, objective.focal_length_mm, objective.back_aperture_mm) == (
        *(1.5, 1.3),
        *(2.0, 5.2),
    )


@pytest.mark.parametrize(("beam", "source"), [("depletion", STED), ("excitation", GAUSS)])
def test_each_beam_arrives(imported, beam, source):
    found = getattr(imported(PARAMETERS), beam)
    assert found.wavelength_nm == source["lambda"]
    assert found.power_w == source["P_laser"]
    assert found.repetition_rate_hz == source["rep_rate"]
    assert found.pulse_length_s == source["pulse_length"]
    assert found.transmittance == source["transmittance"]


def test_the_depletion_beam_is_a_vortex_and_the_excitation_beam_flat(imported):
    setup = imported(PARAMETERS)
    assert (setup.depletion.pattern.kind, setup.excitation.pattern.kind) == ("vortex", "flat")


@pytest.mark.parametrize(("offset_mm", "radii"), [(0.26, (0.1, 0.0)), ([0.13, -0.26], (0.05, -0.1)), (0, (0.0, 0.0))])
def test_an_offset_in_millimeters_becomes_pupil_radii(imported, offset_mm, radii):
    assert imported(with_sted(offset=offset_mm)).depletion.pattern.mask_offset == pytest.approx(radii)


def test_without_numerical_parameters_the_sampling_is_the_default(imported):
    assert imported(PARAMETERS).sampling == Setup().sampling


def test_half_widths_in_micrometers_and_samples_become_pixels(imported):
    numerical = {"out_scrn_size": 0.8, "z_extent": 1.6, "out_res": 32, "inp_res": 64}
    sampling = imported(PARAMETERS | {"numerical_params": numerical}).sampling
    assert sampling.samples == 32
    assert sampling.pixel_nm == pytest.approx((50.0, 50.0, 100.0))


def test_numerical_parameters_may_stand_at_the_top(imported):
    numerical = {"out_scrn_size": 0.8, "z_extent": 1.6, "out_res": 32}
    assert imported(PARAMETERS | numerical) == imported(PARAMETERS | {"numerical_params": numerical})


def test_more_samples_keep_the_width_of_the_image(imported):
    sampling = imported(PARAMETERS | {"out_res": 128}).sampling
    assert sampling.samples == 128
    assert sampling.pixel_nm == pytest.approx((15.625, 15.625, 15.625))


def test_what_was_imported_survives_the_way_through_toml(imported, tmp_path):
    setup = imported(PARAMETERS | {"out_res": 48})
    (tmp_path / "mine.toml").write_text(setup.to_toml(), encoding="utf-8")
    assert Setup.load(tmp_path / "mine.toml") == setup


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch owned')",
        "{'optical_params_sted': __import__('os').system('touch owned')}",
        "{'optical_params_sted': open('owned', 'w')}",
        "{'optical_params_sted': [open('owned', 'w') for _ in [1]]}",
        "(lambda: open('owned', 'w'))()",
        'f\'{open("owned", "w")}\'',
        "import os\nos.system('touch owned')",
    ],
)
def test_evil_text_is_refused_and_never_run(refusal, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    assert refusal(text) == "neither JSON nor a Python dict of plain values"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "text",
    ["", "hello", "{", "{'a': 1", "\0", "[" * 100_000, "{'a':" * 100_000, "-" * 100_000 + "1", '{"a":' * 100_000],
)
def test_text_that_is_no_value_is_refused(refusal, text):
    assert refusal(text) == "neither JSON nor a Python dict of plain values"


def test_a_windows_path_in_quotes_is_refused_without_a_warning(refusal):
    assert "unknown key" in refusal(repr(PARAMETERS)[:-1] + ", 'C:\\data\\sted': 1}")


@pytest.mark.parametrize("text", ["[]", "3", '"text"', "{1: 2}", "{'a', 'b'}", "None"])
def test_a_value_that_is_no_dict_of_dicts_is_refused(refusal, text):
    assert refusal(text).startswith("a dict of dicts is expected")


def test_a_file_that_is_not_utf8_is_refused(refusal):
    assert refusal(b"\xff\xfe{}") == "not a text file in UTF-8"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r"none\.txt: cannot be read \(No such file or directory\)"):
        setup_from_origin(tmp_path / "none.txt")


@pytest.mark.parametrize("name", ["optical_params_sted", "optical_params_gauss"])
@pytest.mark.parametrize("value", [None, 3, [], "text"])
def test_a_beam_that_is_missing_or_no_dict_is_named(refusal, name, value):
    assert refusal(PARAMETERS | {name: value}) == f"the dict '{name}' is missing"


@pytest.mark.parametrize("key", sorted(STED))
def test_a_missing_key_is_named_with_its_beam(refusal, key):
    gauss = {name: value for name, value in GAUSS.items() if name != key}
    message = refusal(PARAMETERS | {"optical_params_gauss": gauss})
    assert message.startswith(f"'{key}' (")
    assert message.endswith("is missing in 'optical_params_gauss'")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (PARAMETERS | {"optical_params": {}}, "unknown key 'optical_params'; known are optical_params_sted"),
        (with_sted(wavelength=775), "unknown key 'wavelength' in 'optical_params_sted'; known are n, NA"),
        (PARAMETERS | {"numerical_params": {"res": 64}}, "unknown key 'res' in 'numerical_params'; known are out_scrn"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(refusal, parameters, words):
    assert refusal(parameters).startswith(words)


@pytest.mark.parametrize("key", sorted(set(STED) - {"offset"}))
@pytest.mark.parametrize(
    "value", ["1.4", None, True, [1.4], float("nan"), float("inf"), 10**400], ids=lambda value: type(value).__name__
)
def test_a_value_that_is_no_number_is_named(refusal, key, value):
    assert refusal(with_sted(**{key: value})).startswith(f"'{key}' in 'optical_params_sted' must be a number, got ")


@pytest.mark.parametrize(
    "value",
    ["0.1", None, True, [0.1], [0.1, 0.2, 0.3], [0.1, None], float("nan"), 10**400, {}],
    ids=lambda value: type(value).__name__,
)
def test_an_offset_that_is_no_number_or_pair_is_refused(refusal, value):
    assert refusal(with_sted(offset=value)).startswith("'offset' must be a number or [x, y] in mm, got ")


@pytest.mark.parametrize("value", [0, -5.2])
def test_a_back_aperture_that_is_not_positive_is_refused(refusal, value):
    assert refusal(with_sted(obj_ba=value)) == f"'obj_ba' in 'optical_params_sted' must be positive, got {value}"


@pytest.mark.parametrize("key", ["out_scrn_size", "z_extent", "out_res", "inp_res"])
@pytest.mark.parametrize("value", [0, -1, "64", None, True, float("nan"), float("inf")])
def test_a_numerical_parameter_that_is_not_positive_is_refused(refusal, key, value):
    assert refusal(PARAMETERS | {key: value}).startswith(f"'{key}' must be a positive number, got ")


def test_a_fraction_of_a_sample_is_refused(refusal):
    assert refusal(PARAMETERS | {"out_res": 64.5}) == "'out_res' must be a whole number of samples, got 64.5"


@pytest.mark.parametrize("value", [None, 3, [], "text"])
def test_numerical_parameters_that_are_no_dict_are_refused(refusal, value):
    assert refusal(PARAMETERS | {"numerical_params": value}) == "'numerical_params' must be a dict"


@pytest.mark.parametrize(("key", "value"), [("n", 1.6), ("NA", 1.35), ("f", 2.1), ("obj_ba", 5.3)])
def test_beams_through_different_objectives_are_refused_with_both_values(refusal, key, value):
    message = refusal(PARAMETERS | {"optical_params_gauss": GAUSS | {key: value}})
    assert message == f"the beams share one objective, but '{key}' is {STED[key]} and {value}"


def test_an_aperture_larger_than_the_index_is_refused(refusal):
    assert refusal(with_sted(n=1.2)).startswith("na = 1.3 must be smaller than immersion_index = 1.2")


def test_a_wavelength_in_micrometers_is_refused(refusal):
    assert refusal(with_sted(**{"lambda": 0.775})).startswith("wavelength_nm = 0.775 in [depletion]")


ORIGIN = STED | {"n": 1.518, "NA": 1.4, "f": 1.8, "obj_ba": 5.04, "lambda": 775, "offset": [0, 0]}
"""Its own numbers."""
SEEN = {"out_scrn_size": 0.8, "z_extent": 0.8, "out_res": 24}
ABERRATED = Wavefront(ModeSet.of([(2, 2), (3, -1), (4, 0)]), (0.06, -0.05, 0.08))


def focus_of_the_origin(wavefront: Wavefront) -> np.ndarray:
    """The intensity (3, n, n) of xy, xz, yz by the origin's formula for ``ORIGIN``, densely integrated.

    Rays meet the pupil at r = f tan(theta), their amplitude is sqrt(cos(theta)), and sin(theta) dtheta dphi is
    sin(theta) cos(theta)^2 / (f r) over the area.
    """
    f, radius = ORIGIN["f"], ORIGIN["obj_ba"] / 2
    node, weight = np.polynomial.legendre.leggauss(60)
    r, phi = np.meshgrid((node + 1) / 2 * radius, 2 * np.pi * (np.arange(90) + 0.5) / 90, indexing="ij")
    theta = np.arctan(r / f)
    s, c, cp, sp = np.sin(theta), np.cos(theta), np.cos(phi), np.sin(phi)
    phase = phi + 2 * np.pi * wavefront.modes.polynomials(r * cp / radius, r * sp / radius) @ wavefront.array
    amplitude = weight[:, None] * r * s * np.sqrt(c) * c**2 / (f * r) * np.exp(1j * phase)
    jx, jy = 1, 1j
    ex = (1 + (c - 1) * cp**2) * jx + (c - 1) * cp * sp * jy
    ey = (c - 1) * cp * sp * jx + (1 + (c - 1) * sp**2) * jy
    field = (np.stack([ex, ey, s * (cp * jx + sp * jy)]) * amplitude).reshape(3, -1)
    k = 2 * np.pi * ORIGIN["n"] / ORIGIN["lambda"] * np.stack([s * cp, s * sp, c]).reshape(3, -1)
    at = 1000 * np.linspace(-SEEN["out_scrn_size"], SEEN["out_scrn_size"], SEEN["out_res"])
    rows, columns = np.meshgrid(at, at, indexing="ij")
    zero = 0 * rows
    sections = [(columns, rows, zero), (columns, zero, rows), (zero, columns, rows)]
    points = np.stack([np.stack(axes, axis=-1) for axes in sections]).reshape(-1, 3)
    return (np.abs(field @ np.exp(1j * (points @ k).T)) ** 2).sum(axis=0).reshape(3, *rows.shape)


def how_far(setup: Setup, wavefront: Wavefront, sampled_as: Setup) -> float:
    """Relative L2 distance of a setup's focus, at its best brightness, from the origin's."""
    truth = focus_of_the_origin(wavefront)
    ours = focus(setup.model_copy(update={"sampling": sampled_as.sampling}), wavefront).data
    ours = ours * (ours * truth).sum() / (ours**2).sum()
    return float(np.linalg.norm(ours - truth) / np.linalg.norm(truth))


@pytest.mark.parametrize("wavefront", [Wavefront.zero(ABERRATED.modes), ABERRATED], ids=["ideal", "aberrated"])
@pytest.mark.filterwarnings("ignore:pixels of:UserWarning")
def test_as_the_origin_gives_the_origins_own_foci_and_the_sine_condition_others(tmp_path, wavefront):
    path = tmp_path / "params.txt"
    path.write_text(repr({"optical_params_sted": ORIGIN, "optical_params_gauss": ORIGIN, "numerical_params": SEEN}))
    same, sine = setup_from_origin(path, as_the_origin=True), setup_from_origin(path)
    assert sine.objective.mapping == "sine"
    assert how_far(same, wavefront, same) < 1e-4
    assert 0.2 < how_far(sine, wavefront, same) < 0.4


def test_as_the_origin_the_edge_of_the_aperture_sets_the_na(imported, tmp_path):
    imported({"optical_params_sted": ORIGIN, "optical_params_gauss": ORIGIN})
    setup = setup_from_origin(tmp_path / "report.txt", as_the_origin=True)
    assert setup.objective.na == pytest.approx(1.518 * np.sin(np.arctan(2.52 / 1.8)))
    assert Setup.parse(tomllib.loads(setup.to_toml())) == setup


@pytest.mark.parametrize("key", ["n", "f", "obj_ba"])
def test_what_no_lens_has_is_refused_as_the_origin_too(imported, tmp_path, key):
    with pytest.raises(SetupError):
        imported(with_sted(**{key: 0}))
    with pytest.raises(SetupError, match=f"'{key}' in .* must be positive"):
        setup_from_origin(tmp_path / "report.txt", as_the_origin=True)
