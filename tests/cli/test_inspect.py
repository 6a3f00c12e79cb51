"""What ``stedalign inspect`` prints of a file, and what ``estimate`` says of a microscope that is not the setup's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from obf_file import Stack, write_obf

from stedalign.formats.stack import load_stack

RECORDINGS = Path(__file__).parents[3] / "shared" / "data"
TREE = "<root><doc><OlympusIX><light_path><objlens>60X_NA1.2_water</objlens></light_path></OlympusIX></doc></root>"


def recording(name: str) -> Path:
    """A recording of a real microscope, which does not come with the project."""
    path = RECORDINGS / name
    if not path.is_file():
        pytest.skip(f"{name}, a recording, is not beside the project")
    return path


def test_the_table_shows_each_stack(run, bench, simulated):
    outcome = run("inspect", bench / "bead.ome.tif")
    assert outcome.code == 0
    for word in ("CYX", "3 x 24 x 24", "uint16", "x 80, y 80, z 80", "xy, xz, yz"):
        assert word in outcome.out


def test_json_tells_the_same_and_nothing_is_written(run, bench, simulated):
    outcome = run("inspect", bench / "bead.ome.tif", "--json")
    (stack,) = outcome.json["stacks"]
    assert (stack["axes"], stack["shape"], stack["simulated"]) == ("CYX", [3, 24, 24], True)
    assert stack["pixel_nm"] == {"x": 80.0, "y": 80.0, "z": 80.0}
    assert outcome.json["facts"]["na"] is None
    assert outcome.written == set()


def test_sizes_that_are_not_told_are_called_so(run, flat_image):
    assert "not told" in run("inspect", flat_image).out


@pytest.mark.parametrize("name", ["none.tif", "setup.toml"])
def test_what_is_no_image_file_is_refused(run, tmp_path, name):
    (tmp_path / "setup.toml").write_text("[sampling]\n")
    run("inspect", name).assert_refused(name)


def test_a_recording_of_imspector_shows_stack_objective_and_slm(run):
    pytest.importorskip("obffile")
    outcome = run("inspect", recording("imspector_1channel.msr"))
    for word in ("Ch1 {0}", "750 x 750", "x 20, y 20", "100X_NA1.4_oil", "pattern_parameters/aberration/astig_x: 0.1"):
        assert word in outcome.out


def test_a_document_of_imspector_without_stacks_is_one_clear_line(run):
    pytest.importorskip("obffile")
    path = recording("imspector_no_stack.msr")
    outcome = run("inspect", path)
    assert "no image stack" in outcome.out
    assert "100X_NA1.4_oil" in outcome.out
    run("estimate", path).assert_refused("imspector_no_stack.msr: the file holds no image stack")


def test_an_estimate_tells_where_file_and_setup_differ(run, bench, simulated, tmp_path):
    pytest.importorskip("obffile")
    image = load_stack(bench / "bead.ome.tif")
    labels = [("ExpControl Y", "ExpControl X"), ("ExpControl Z", "ExpControl X"), ("ExpControl Z", "ExpControl Y")]
    stacks = [
        Stack(plane.astype(np.uint16), axes, (80.0, 80.0), f"ExpControl Ch1 {{{at}}}", TREE)
        for at, (plane, axes) in enumerate(zip(image.data, labels, strict=True))
    ]
    write_obf(tmp_path / "bead.msr", *stacks)
    outcome = run("estimate", "bead.msr", "--setup", bench / "coarse.toml", "--no-network", "--out", "run", "--json")
    assert outcome.code == 0, outcome.err
    assert "the file is of an objective of NA 1.2, the setup says 1.4" in outcome.err
    assert "the file is of an objective for water" in outcome.err
    assert len(outcome.json["notes"]) == 2
    assert json.loads((tmp_path / "run" / "estimate.json").read_text())["notes"] == outcome.json["notes"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--frame", "1"), "there is no frame 1"),
        (("--channel", "1"), "its channels are the sections xy, xz and yz"),
        (("--channel", "red"), "its channels are the sections xy, xz and yz"),
        (("--series", "1"), "there is no stack 1"),
        (("--stack", "other"), "there is no stack 'other'"),
        (("--axes", "ABC"), "axes = 'ABC'"),
        (("--pixel-nm", "0.03", "0.03", "0.05"), "look like micrometers: give nm, here (30, 30, 50)"),
        (("--pixel-nm", "500", "500", "500"), "pixels of 500 nm along x show nothing of a focus of 775 nm light"),
    ],
)
def test_an_option_that_does_not_fit_the_file_is_refused(run, bench, simulated, options, words):
    outcome = run("estimate", bench / "bead.ome.tif", "--setup", bench / "coarse.toml", "--no-network", *options)
    outcome.assert_refused(words)
