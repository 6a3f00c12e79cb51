"""A microscope that one Python file adds, and a setup that is small in every way that makes it fast."""

import sys

SOURCE = '''
"""One laboratory's microscope: this file is all that it takes."""

from stedalign.instrument.protocols import Microscope
from stedalign.simulator.microscope import make_microscope

made = []


class Lab(Microscope):
    connected = True

    def close(self):
        self.connected = False


def microscope(setup):
    parts = make_microscope(setup, seed=3)
    made.append(Lab(parts.source, parts.slm, parts.stage, parts.shutter, name="my lab's microscope"))
    return made[-1]
'''
SETUP = """
[sampling]
samples = 16
pixel_nm = [110.0, 110.0, 110.0]

[slm]
rows = 100
columns = 200
pupil_radius_px = 34.0

[limits]
search_generations = 0
"""


def put_on_path(folder, monkeypatch):
    """Write the device's file into a folder on Python's path; the name to load it by."""
    (folder / "mylab.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "mylab", raising=False)
    return "mylab:microscope"
