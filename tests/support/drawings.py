"""Looking at drawings: at the file as a person would, at the figure by what stands in it."""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image


def assert_drawn(path: Path) -> None:
    """The file is a picture large enough to read, with ink on it and paper left between."""
    with Image.open(path) as picture:
        gray = np.asarray(picture.convert("L"))
    assert min(gray.shape) >= 400, path
    assert 0.01 < (gray < 250).mean() < 0.9, path
    assert len(np.unique(gray)) > 20, path


def saved_figures(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """A list to which each figure is added that is saved from now on."""
    figures, save = [], matplotlib.figure.Figure.savefig

    def record(figure: matplotlib.figure.Figure, *arguments: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", record)
    return figures


def assert_readable(figure: matplotlib.figure.Figure, title: str) -> None:
    """It bears its title, and each of its panels shows something and says what."""
    assert figure.get_suptitle().startswith(title)
    panels = [axes for axes in figure.axes if axes.axison]
    assert panels
    for axes in panels:
        assert axes.has_data()
        assert axes.get_xlabel() or axes.get_ylabel() or axes.get_title()
