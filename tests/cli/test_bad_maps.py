"""Maps over the pupil that cannot be used: one line, exit 2, nothing written."""

from __future__ import annotations

import numpy as np
import pytest

SETUP = """\
[sampling]
samples = 16
pixel_nm = [60.0, 60.0, 60.0]
[depletion.{table}]
kind = "file"
file = "map.npy"
"""


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        ("pattern", None, "cannot read the map"),
        ("pattern", np.zeros((16, 12)), "has the shape (16, 12)"),
        ("pattern", np.full((16, 16), np.nan), "not finite"),
        ("pattern", np.zeros((16, 16), complex), "must hold real numbers"),
        ("polarization", None, "cannot read the map"),
    ],
)
def test_a_simulation_refuses_a_bad_map(run, tmp_path, table, values, words):
    (tmp_path / "my.toml").write_text(SETUP.format(table=table))
    if values is not None:
        np.save(tmp_path / "map.npy", values)
    run("simulate", "--out", "made.ome.tif", "--setup", "my.toml").assert_refused(words, "map.npy")
