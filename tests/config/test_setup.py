"""The setup file: what is written is read back, and what cannot be is refused with one line."""

from __future__ import annotations

import math
import tomllib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stedalign.config import Setup, SetupError
from stedalign.optics.wavefront import ModeSet
from stedalign.spec import Spec


@pytest.fixture
def load(tmp_path):
    """Load a setup from text or bytes."""

    def loading(content: str | bytes) -> Setup:
        path = tmp_path / "my.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Setup.load(path)

    return loading


@pytest.fixture
def refusal(load, tmp_path):
    """The message with which a content is refused, less the file's name."""

    def refusing(content: str | bytes) -> str:
        with pytest.raises(SetupError) as caught:
            load(content)
        message = str(caught.value)
        assert "\n" not in message
        name, _, rest = message.partition("my.toml: ")
        assert name == f"{tmp_path}/"
        return rest

    return refusing


def reloaded(setup: Setup) -> Setup:
    return Setup.parse(tomllib.loads(setup.to_toml()))


def leaves(spec: Spec, table: str = "") -> list[str]:
    """Every key of a description, with its table's name: ``[objective] na``."""
    found = []
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        found += leaves(value, f"{table}.{name}".strip(".")) if isinstance(value, Spec) else [f"[{table}] {name}"]
    return found


def comments(toml: str) -> dict[str, str]:
    """The comment above each key and above or below each table's name."""
    found, table, comment = {}, "", ""
    for line in toml.splitlines():
        key = line.removeprefix("# ").split(" = ")[0]
        if line.startswith("["):
            table = line
        elif " = " in line and (not line.startswith("#") or line.endswith("(not set)")):
            found[f"{table or '[]'} {key}"] = comment
        elif line.startswith("#"):
            comment += line
            continue
        comment = ""
    return found


def test_an_empty_file_is_the_default_instrument(load):
    assert load("") == Setup()


def test_the_written_default_is_read_back_equal(load):
    assert load(Setup().to_toml()) == Setup()


def test_a_modified_setup_is_read_back_equal(load):
    setup = Setup.parse(
        {
            "modes": ModeSet.report12().pairs,
            "objective": {"na": 1.2, "immersion_index": 1.333, "focal_length_mm": 3.0, "back_aperture_mm": 7.2},
            "depletion": {
                "wavelength_nm": 592.0,
                "fill": 1.15,
                "pattern": {"charge": -2, "mask_offset": [0.03, -0.01]},
                "polarization": {"ellipticity_deg": -45.0},
            },
            "slm": {"half": "right", "pupil_center_px": [600.5, 290.25], "flip_x": True, "levels_per_2pi": 211.5},
            "stage": {"limits_nm": [[-100.0, -200.0, -300.0], [100.0, 200.0, 300.0]]},
        }
    )
    assert setup != Setup()
    assert load(setup.to_toml()) == setup


@pytest.mark.filterwarnings("ignore:pixels of:UserWarning")
@given(
    fill=st.one_of(st.just(math.inf), st.floats(0.01, 1e6)),
    power_w=st.floats(0, 1e3, exclude_min=True),
    pulse_length_s=st.floats(1e-18, 1e3),
    offset=st.floats(-0.3, 0.3),
    pixel_nm=st.floats(0, 1000, exclude_min=True),
    photons=st.floats(0, 1e7, exclude_min=True),
    samples=st.integers(8, 512),
)
def test_every_number_is_read_back_to_the_last_bit(fill, power_w, pulse_length_s, offset, pixel_nm, photons, samples):
    pattern = {"mask_offset": [offset, -offset]}
    setup = Setup.parse(
        {
            "depletion": {"fill": fill, "power_w": power_w, "pulse_length_s": pulse_length_s, "pattern": pattern},
            "sampling": {"samples": samples, "pixel_nm": [pixel_nm, 20.0, 1000.0]},
            "detector": {"photons": photons},
        }
    )
    assert reloaded(setup) == setup


def test_every_key_is_documented_by_a_comment_even_one_that_is_not_set():
    documented = comments(Setup().to_toml())
    assert sorted(documented) == sorted(leaves(Setup()))
    assert [key for key, comment in documented.items() if not comment] == []


def test_every_table_is_documented_under_its_name():
    lines = Setup().to_toml().splitlines()
    tables = [(name, below) for name, below in pairwise(lines) if name.startswith("[")]
    assert len(tables) == 16
    assert [name for name, below in tables if not below.startswith("# ")] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objectiv = 1", "unknown key 'objectiv'; the nearest known key is 'objective'"),
        ("[objective]\nNA = 1.4", "unknown key 'NA' in [objective]; the nearest known key is 'na'"),
        ("[sampling]\npixel_um = 1", "unknown key 'pixel_um' in [sampling]; the nearest known key is 'pixel_nm'"),
        (
            "[depletion.pattern]\ncharges = 1",
            "the pattern 'vortex' has no key 'charges'; it has kind, mask_offset, charge ([depletion.pattern])",
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_table_and_the_nearest_known_one(refusal, text, message):
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[objective]\nna = "high"', ["na = 'high' in [objective]", "number"]),
        ("[objective]\nna = [1.4]", ["na = [1.4] in [objective]", "number"]),
        ("objective = 1.4", ["objective = 1.4"]),
        ("[sampling]\nsamples = 64.5", ["samples = 64.5 in [sampling]", "integer"]),
        ("[sampling]\npixel_nm = 20.0", ["pixel_nm = 20.0 in [sampling]"]),
        ("[sampling]\npixel_nm = [20.0, 20.0]", ["pixel_nm", "[sampling"]),
        ('[slm]\nhalf = "top"', ["half = 'top' in [slm]", "'left', 'right' or 'full'"]),
        ('[depletion.pattern]\nkind = "donut"', ["no pattern 'donut'", "[depletion.pattern]", "vortex"]),
    ],
)
def test_a_wrong_type_is_named_with_key_and_value(refusal, text, words):
    message = refusal(text)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[objective]\nna = -1.4", ["na = -1.4 in [objective]", "greater than 0"]),
        ("[objective]\nna = nan", ["na = nan in [objective]"]),
        ("[depletion]\nwavelength_nm = 0.775", ["wavelength_nm = 0.775 in [depletion]", "greater than 100"]),
        ("[depletion]\nfill = 0.0", ["fill = 0.0 in [depletion]", "greater than or equal to 0.01"]),
        ("[depletion.polarization]\nellipticity_deg = 90.0", ["ellipticity_deg = 90.0", "45"]),
        ("[depletion.pattern]\nmask_offset = [0.5, 0.5]", ["mask_offset (0.5, 0.5) is longer than 0.5 pupil radii"]),
        ("[depletion.pattern]\nmask_offset = [nan, 0.0]", ["mask_offset"]),
        ("[depletion.pattern]\ncharge = 0", ["a vortex needs a charge that is not 0"]),
        ("[sampling]\nsamples = 7", ["samples = 7 in [sampling]", "8"]),
        ("[sampling]\npixel_nm = [20.0, 20.0, 0.0]", ["pixel_nm (20.0, 20.0, 0.0) must lie between 0 and 1000 nm"]),
        ("[slm]\nlevels_per_2pi = 300", ["levels_per_2pi = 300 in [slm]", "256"]),
        ("[slm]\npupil_radius_px = 400.0", ["a pupil of radius 400.0 px", "does not lie on the used part"]),
        ("[slm]\npupil_center_px = [nan, 0.0]", ["does not lie on the used part"]),
        ("[stage]\nlimits_nm = [[0, 0, 0], [0, 1, 1]]", ["limits_nm", "low end below its high end"]),
    ],
)
def test_a_value_out_of_range_is_named_with_the_bound(refusal, text, words):
    message = refusal(text)
    assert all(word in message for word in words), message


def test_an_aperture_larger_than_the_index_is_refused_with_both(refusal):
    message = refusal("[objective]\nna = 1.4\nimmersion_index = 1.333")
    assert message.startswith("na = 1.4 must be smaller than immersion_index = 1.333")


def test_a_back_aperture_that_contradicts_the_objective_is_refused(refusal):
    message = refusal("[objective]\nback_aperture_mm = 10.0")
    assert message.startswith("back_aperture_mm = 10.0 disagrees with 2 x focal_length_mm x na = 5.04")


@pytest.mark.parametrize(
    "modes", ['"all"', "3", "[3, 4]", "[[2]]", "[[2, 0, 1]]", '[[2, "x"]]', "[[2.5, 0]]", "[[inf, 0]]", "[true]"]
)
def test_modes_that_are_no_pairs_are_refused(refusal, modes):
    assert refusal(f"modes = {modes}").startswith("modes must be a list of pairs [n, m] of whole numbers, got ")


@pytest.mark.parametrize("modes", ["[]", "[[2, 1]]", "[[-2, 0]]", "[[2, 2], [2, 2]]"])
def test_modes_that_do_not_exist_are_refused(refusal, modes):
    assert "mode" in refusal(f"modes = {modes}")


@pytest.mark.parametrize(
    "text", ["[objective", "na = ", "na = 1\nna = 2", "na = 1,4", '"', "\0", "[objective]\nna = 1\n[objective]\n"]
)
def test_malformed_toml_is_refused_with_the_place(refusal, text):
    assert refusal(text).startswith("not valid TOML: ")


def test_a_byte_order_mark_is_no_part_of_a_setup(load):
    assert load("\ufeff[bead]\ndiameter_nm = 100.0\n").bead.diameter_nm == 100.0


def test_a_file_that_is_not_utf8_is_refused(refusal):
    assert refusal("# µm\n".encode("latin-1")) == "not a text file in UTF-8"


def test_a_bomb_of_brackets_is_refused(refusal):
    assert refusal("modes = " + "[" * 100_000) == "nested too deeply to be a setup"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r"none\.toml: cannot be read \(No such file or directory\)$"):
        Setup.load(tmp_path / "none.toml")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r"cannot be read \(Is a directory\)$"):
        Setup.load(tmp_path)
