"""Setups of the time when every pattern had the keys of all kinds."""

from __future__ import annotations

import json

import pytest

from stedalign.config import Setup, SetupError
from stedalign.config.upgrade import upgraded_setup
from stedalign.imaging.forward_spec import ForwardSpec, optics_disagreement
from stedalign.optics.beam import Beam
from stedalign.optics.patterns import Bivortex, Flat, HalfMoon, TopHat, Vortex
from stedalign.optics.patterns.upgrade import OLD_KEYS

EVERYTHING = {
    "charge": -2,
    "ring_radius": 0.6,
    "step_waves": 0.4,
    "mask_offset": [0.1, -0.05],
    "mask_scale": 1.2,
    "mask_rotation_deg": 30.0,
    "file": "",
    "levels_per_2pi": 256.0,
    "sha256": "",
}
OLD = """\
# Our microscope.
[depletion]
wavelength_nm = 592.0 # a fiber laser

[depletion.pattern]
# What we bought.
kind = "top_hat"

# Turns of 2 pi around the vortex.
# For vortex and bivortex.
charge = 1

# Ours is small.
ring_radius = 0.6
levels_per_2pi = 256.0

[excitation]
wavelength_nm = 488.0
pattern = { kind = "flat", mask_offset = [0.1, 0.0], file = "" }
"""
NEW = """\
# Our microscope.
[depletion]
wavelength_nm = 592.0 # a fiber laser

[depletion.pattern]
# What we bought.
kind = "top_hat"

# Ours is small.
ring_radius = 0.6

[excitation]
wavelength_nm = 488.0
pattern = { kind = "flat" }
"""


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text(OLD)
    return path


def test_an_old_setup_is_refused_in_one_line_that_says_what_to_do(old):
    with pytest.raises(SetupError) as caught:
        Setup.load(old)
    assert str(caught.value) == (
        f"{old}: keys of other patterns in [depletion.pattern] (charge, levels_per_2pi), [excitation.pattern] "
        f"(mask_offset, file): delete them, or let `stedalign init --upgrade {old} new.toml` do it"
    )


def test_an_upgrade_keeps_values_and_comments_and_tells_what_it_dropped(old, tmp_path):
    text, dropped = upgraded_setup(old, tmp_path)
    # What is left of an inline table keeps its blanks.
    assert text.replace('"flat"   }', '"flat" }') == NEW
    assert dropped == {"depletion.pattern": ["charge", "levels_per_2pi"], "excitation.pattern": ["mask_offset", "file"]}
    old.write_text(text)
    setup = Setup.load(old)
    assert (setup.depletion.pattern, setup.excitation.pattern) == (TopHat(ring_radius=0.6), Flat())
    assert upgraded_setup(old, tmp_path) == (text, {})


def test_an_upgrade_into_another_folder_still_finds_the_files_beside_the_old_one(tmp_path):
    (tmp_path / "map.npy").write_bytes(b"a map")
    (tmp_path / "new").mkdir()
    old = tmp_path / "old.toml"
    old.write_text('[depletion.pattern]\nkind = "file"\nfile = "map.npy"\ncharge = 1\n')
    text, _ = upgraded_setup(old, tmp_path / "new")
    (tmp_path / "new" / "new.toml").write_text(text)
    pattern = Setup.load(tmp_path / "new" / "new.toml").depletion.pattern
    assert pattern.file == str((tmp_path / "map.npy").resolve())


@pytest.mark.parametrize(
    "place",
    [
        "depletion.pattern.charge = 1\ndepletion.pattern.kind = 'flat'\n",
        "[depletion]\npattern.kind = 'flat'\npattern.charge = 1\n",
        "[depletion.pattern]\nkind = 'flat'\n[bead]\n[depletion.overlay.pattern]\nkind = 'top_hat'\ncharge = 2\n",
        "[depletion.pattern]\nkind = 'flat'\nmask_offset = [\n  0.1, # along x\n  0.0,\n]\n[bead]\n",
    ],
)
def test_an_upgrade_reads_toml_however_it_is_written(tmp_path, place):
    old = tmp_path / "old.toml"
    old.write_text(place)
    text, dropped = upgraded_setup(old, tmp_path)
    assert len(dropped) == 1
    old.write_text(text)
    assert Setup.load(old).depletion.pattern == Flat()


def test_what_is_no_setup_after_an_upgrade_either_is_refused(old, tmp_path):
    old.write_text(OLD + "[bead]\ndiameter = 1\n")
    with pytest.raises(SetupError, match=r"unknown key 'diameter' in \[bead\]"):
        upgraded_setup(old, tmp_path)


def test_a_key_that_no_pattern_ever_had_is_not_dropped(old, tmp_path):
    old.write_text('[depletion.pattern]\nkind = "flat"\ncharges = 1\n')
    with pytest.raises(SetupError, match="the pattern 'flat' has no key 'charges'"):
        upgraded_setup(old, tmp_path)


RECORDED = [
    Vortex(charge=-2, mask_offset=(0.1, -0.05)),
    TopHat(ring_radius=0.6, step_waves=0.4, mask_offset=(0.1, -0.05), mask_scale=1.2),
    HalfMoon(step_waves=0.4, mask_offset=(0.1, -0.05), mask_rotation_deg=30.0),
    Bivortex(charge=-2, ring_radius=0.6, step_waves=0.4, mask_offset=(0.1, -0.05), mask_scale=1.2),
    Flat(),
]


@pytest.mark.parametrize("pattern", RECORDED, ids=lambda pattern: pattern.kind)
def test_optics_that_an_older_version_recorded_are_the_same_optics(pattern):
    assert EVERYTHING.keys() == OLD_KEYS
    forward = ForwardSpec(beam=Beam(pattern=pattern))
    recorded = json.loads(json.dumps(forward.model_dump()))
    recorded["beam"]["pattern"] = {"kind": pattern.kind, **EVERYTHING}
    assert ForwardSpec.recorded(recorded) == forward
    assert optics_disagreement(recorded, None, forward, None) is None


def test_a_recording_in_which_the_pattern_differs_is_told_by_its_value():
    recorded = ForwardSpec(beam=Beam(pattern=Vortex(charge=3))).model_dump()
    assert optics_disagreement(recorded, None, ForwardSpec(), None) == "for charge = 3, this setup has charge = 1"
