"""Focus a donut, aberrate it, and look at both: the vectorial focus as a Python function."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

import stedalign as sa

setup = sa.Setup()
modes = sa.ModeSet.default()
perfect = sa.focus(setup, sa.Wavefront.zero(modes))
astigmatic = sa.focus(setup, sa.Wavefront(sa.ModeSet.of([(2, 2)]), (0.1,)))

figure = Figure(figsize=(9, 6), layout="constrained")
for row, (name, sections) in enumerate({"perfect": perfect, "100 mλ astigmatism": astigmatic}.items()):
    for column, plane in enumerate(("xy", "xz", "yz")):
        axes = figure.add_subplot(2, 3, 3 * row + column + 1, title=f"{name}, {plane}")
        axes.imshow(sections.data[column], origin="lower", cmap="inferno", vmin=0, vmax=1)
        axes.set_axis_off()
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
figure.savefig(folder / "donut.png")
print(f"crest {perfect.data.max():.3f} without, {astigmatic.data.max():.3f} with astigmatism: {folder / 'donut.png'}")
