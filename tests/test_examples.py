import re
import runpy
import sys
from pathlib import Path

import pytest
from drawings import assert_drawn

import stedalign as sa

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_runs_prints_figures_and_leaves_what_it_made(example, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(example), str(tmp_path)])
    runpy.run_path(str(example), run_name="__main__")
    assert re.search(r"\d", capsys.readouterr().out), "no figures were printed"
    drawings = [path for path in tmp_path.rglob("*.png") if "mask" not in path.stem]
    images = list(tmp_path.rglob("*.ome.tif"))
    assert drawings or images
    for drawing in drawings:
        assert_drawn(drawing)
    for image in images:
        assert sa.load_stack(image).data.max() > 100
