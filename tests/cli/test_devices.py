"""A microscope that one Python file adds, driven from the command line."""

import json
import sys

import one_file_device


def test_a_device_of_one_file_is_aligned_from_the_command_line_and_disconnected(run, tmp_path, monkeypatch):
    name = one_file_device.put_on_path(tmp_path, monkeypatch)
    (tmp_path / "small.toml").write_text(one_file_device.SETUP)
    outcome = run("align", "--setup", "small.toml", "--microscope", name, "--no-network", "--out", "run", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json["restored"]
    assert outcome.json["rms_after_waves"] < outcome.json["rms_before_waves"] / 5
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["microscope"] == "my lab's microscope"
    (microscope,) = sys.modules["mylab"].made
    assert not microscope.connected
    assert not microscope.shutter.is_open
