"""The border to the user: exit codes, one line for every error, nothing slow before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import stedalign


def test_help_names_every_command(run):
    outcome = run("--help")
    assert outcome.code == 0
    for command in ("init", "simulate", "mask", "estimate", "align", "dataset", "train", "evaluate"):
        assert command in outcome.out


def test_the_version_is_printed(run):
    outcome = run("--version")
    assert (outcome.code, outcome.out) == (0, stedalign.__version__ + "\n")


def test_no_command_at_all_shows_the_help_and_is_wrong_usage(run):
    outcome = run()
    assert outcome.code == 2
    assert "Commands" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["align-it"], ("No such command 'align-it'", "stedalign --help")),
        (["estimate"], ("either one FILE or sections", "stedalign estimate --help")),
        (["estimate", "a.tif", "--xy", "b.tif"], ("either one FILE or sections", "--xy")),
        (["estimate", "--xz", "b.tif", "--whole-volume"], ("--whole-volume is for a FILE",)),
        (["simulate"], ("Missing option '--out'", "stedalign simulate --help")),
        (["align", "--fast"], ("No such option", "--fast", "stedalign align --help")),
        (["align", "--seed", "first"], ("--seed", "integer")),
        (["align", "--seed", "-1"], ("--seed", "0")),
        (["align", "--max-corrections", "51"], ("--max-corrections", "50")),
        (["simulate", "--out", "a.ome.tif", "--photons", "-350"], ("--photons", "0")),
        (["simulate", "--out", "a.ome.tif", "--photons", "many"], ("--photons", "number")),
        (["simulate", "--out", "a.ome.tif", "--photons", "0"], ("photons = 0.0", "greater than 0")),
        (["simulate", "--out", "a.ome.tif", "--photons", "nan"], ("photons",)),
        (["simulate", "--out", "a.ome.tif", "--peak-waves", "nan"], ("--peak-waves",)),
        (["simulate", "--out", "a.ome.tif", "--peak-waves", "2"], ("--peak-waves", "1")),
        (["simulate", "--out", "a.ome.tif", "--off-center-nm", "nan"], ("--off-center-nm",)),
        (["dataset", "--out", "a.h5", "--samples", "3"], ("--samples", "10")),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_option(run, arguments, words):
    run(*arguments).assert_refused(*words)


def test_help_and_import_take_nothing_heavy_and_nothing_that_the_plain_install_lacks():
    """``click`` comes with the developers' tools alone."""
    program = """
import sys
before = set(sys.modules)
import stedalign
dir(stedalign)
assert {name for name in set(sys.modules) - before if "." not in name} <= set(sys.stdlib_module_names) | {"stedalign"}
sys.modules["click"] = None
sys.argv = ["stedalign", "--help"]
from stedalign.cli.main import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
for heavy in ("torch", "numpy", "scipy", "matplotlib", "h5py", "tifffile", "PIL", "pydantic", "lightning"):
    assert heavy not in sys.modules, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_warning_is_one_line_however_many_parts_of_the_program_notice(run, tmp_path):
    (tmp_path / "coarse.toml").write_text("[sampling]\nsamples = 16\npixel_nm = [200.0, 90.0, 90.0]\n")
    outcome = run("mask", "--out", "mask.bmp", "--setup", tmp_path / "coarse.toml")
    assert outcome.code == 0
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("stedalign: warning: pixels of 200 nm")
    assert "138 nm (Nyquist)" in outcome.err
