"""A microscope that one Python file adds, driven from the command line."""

import json
import sys

import pytest

LAB = '''
"""One laboratory's microscope: this file is all that it takes."""

from stedalign.instrument.protocols import Microscope
from stedalign.simulator.microscope import make_microscope


class Lab(Microscope):
    def close(self):
        if self.shutter.is_open:
            raise OSError("disconnected with an open shutter")
        raise OSError("cable stuck")


def microscope(setup):
    parts = make_microscope(setup, seed=3)
    return Lab(parts.source, parts.slm, parts.stage, parts.shutter, name="my lab's microscope")
'''
SMALL = """
[sampling]
samples = 16
pixel_nm = [110.0, 110.0, 110.0]

[slm]
rows = 100
columns = 200
pupil_radius_px = 34.0
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The name of a microscope that one file on the path makes."""
    (tmp_path / "mylab.py").write_text(LAB)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mylab", raising=False)
    return "mylab:microscope"


@pytest.mark.filterwarnings("default:.*could not be disconnected")
def test_a_device_of_one_file_is_aligned_from_the_command_line_and_disconnected(run, tmp_path, lab):
    (tmp_path / "small.toml").write_text(SMALL)
    arguments = ("--setup", "small.toml", "--microscope", lab, "--no-network", "--out", "run", "--json")
    outcome = run("align", *arguments)
    assert outcome.code == 0, outcome.err
    assert outcome.json["restored"]
    assert outcome.json["rms_after_waves"] < outcome.json["rms_before_waves"] / 5
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["microscope"] == "my lab's microscope"
    # A connection that cannot be closed takes nothing from a good alignment.
    assert outcome.err == "stedalign: warning: my lab's microscope could not be disconnected: OSError: cable stuck\n"
