"""Rules of the source tree that no import contract can state."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_no_file_is_longer_than_400_lines():
    assert {path.name: n for path in SOURCES if (n := len(path.read_text().splitlines())) > 400} == {}


def test_no_file_has_a_name_that_explains_nothing():
    names = {"utils", "util", "misc", "helpers", "helper", "common", "base", "core"}
    assert [path for path in SOURCES if path.stem in names] == []


def test_matplotlib_is_confined_to_the_reports():
    users = {path.name for path in SOURCES if re.search(r"^\s*(import|from) matplotlib", path.read_text(), re.M)}
    assert users == {"alignment.py", "evaluation.py"}


def test_heavy_imports_stay_inside_the_commands():
    for path in (ROOT / "src" / "stedalign" / "cli").glob("*.py"):
        heavy = re.findall(r"^(?:import|from) (torch|numpy|scipy|matplotlib|lightning|h5py)", path.read_text(), re.M)
        assert heavy == [], path
