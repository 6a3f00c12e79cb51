"""A pattern of the user's own on the command line, and setups from before patterns had keys of their own."""

from __future__ import annotations

import numpy as np
from cross_pattern import Cross

from stedalign.config import Setup
from stedalign.formats.stack import load_stack
from stedalign.instrument.mask_files import read_mask
from stedalign.instrument.slm_mask import mask_levels
from stedalign.optics.patterns import Flat, Vortex
from stedalign.optics.wavefront import Wavefront

CROSS = """\
[sampling]
samples = 16
pixel_nm = [60.0, 60.0, 60.0]
[depletion.pattern]
kind = "cross_pattern:Cross"
mask_rotation_deg = 10.0
"""
OLD = """\
[depletion.pattern]
charge = 2
ring_radius = 0.71
[excitation.pattern]
kind = "flat"
charge = 1
"""


def test_a_pattern_of_one_s_own_is_written_to_the_panel_and_simulated(run, tmp_path):
    (tmp_path / "my.toml").write_text(CROSS)
    setup = Setup.load(tmp_path / "my.toml")
    assert setup.depletion.pattern == Cross(mask_rotation_deg=10.0)

    assert run("mask", "--out", "cross.bmp", "--setup", "my.toml").code == 0
    levels = read_mask(tmp_path / "cross.bmp")
    np.testing.assert_array_equal(
        levels, mask_levels(setup.slm, Cross(mask_rotation_deg=10.0), Wavefront.zero(setup.modes))
    )
    assert set(np.unique(levels)) == {0, round(setup.slm.levels_per_2pi / 2)}

    command = ("simulate", "--out", "cross.ome.tif", "--setup", "my.toml", "--peak-waves", "0", "--off-center-nm", "0")
    assert run(*command, "--photons", "10000").code == 0
    xy = load_stack(tmp_path / "cross.ome.tif").data[0].astype(float)
    # Four lobes around a dark center.
    assert xy[7:9, 7:9].mean() < 0.2 * xy.max()


def test_init_lists_what_an_upgrade_dropped_and_leaves_the_old_file_alone(run, tmp_path):
    (tmp_path / "old.toml").write_text(OLD)
    outcome = run("init", "--upgrade", "old.toml", "new.toml")
    assert (outcome.code, outcome.err, outcome.written) == (0, "", {"new.toml"})
    assert outcome.out == (
        "dropped from [depletion.pattern], where they did nothing: ring_radius\n"
        "dropped from [excitation.pattern], where they did nothing: charge\n"
        "wrote new.toml\n"
    )
    setup = Setup.load(tmp_path / "new.toml")
    assert (setup.depletion.pattern, setup.excitation.pattern) == (Vortex(charge=2), Flat())


def test_an_old_setup_is_refused_with_the_command_that_upgrades_it(run, tmp_path):
    (tmp_path / "old.toml").write_text(OLD)
    run("mask", "--out", "made.bmp", "--setup", "old.toml").assert_refused(
        "old.toml: keys of other patterns in [depletion.pattern] (ring_radius)",
        "`stedalign init --upgrade old.toml new.toml`",
    )


def test_an_upgrade_replaces_a_file_only_when_asked(run, tmp_path):
    (tmp_path / "old.toml").write_text(OLD)
    run("init", "--upgrade", "old.toml", "old.toml").assert_refused("old.toml exists already", "--overwrite")
    assert run("init", "--upgrade", "old.toml", "old.toml", "--overwrite").code == 0
    assert Setup.load(tmp_path / "old.toml").depletion.pattern == Vortex(charge=2)


def test_an_upgrade_of_what_is_no_setup_writes_nothing(run, tmp_path):
    (tmp_path / "old.toml").write_text(OLD + "[bead]\ndiameter = 1\n")
    run("init", "--upgrade", "old.toml", "new.toml").assert_refused("old.toml: unknown key 'diameter' in [bead]")
    run("init", "--upgrade", "nowhere.toml", "new.toml").assert_refused("nowhere.toml: cannot be read")
    run("init", "--upgrade", "old.toml", "--from-dict", "old.toml", "new.toml").assert_refused(
        "--from-dict or --upgrade"
    )
