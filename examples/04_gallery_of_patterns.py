"""Every pattern's focus in three sections, and what the fluorescence keeps of a spot under the donut."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stedalign as sa
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Overlay
from stedalign.optics.patterns import MaskFile, Vortex, known_kinds, pattern_class

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
# A mask of one's own: an axicon's cone of one wave, as an array of radians over the square around the pupil.
axis = (np.arange(256) + 0.5) / 128 - 1
np.save(folder / "cone.npy", 2 * np.pi * np.hypot(axis, axis[:, None]))

kinds = [kind for kind in known_kinds() if kind != "file"]
changes = {kind.replace("_", " "): {"pattern": pattern_class(kind)()} for kind in kinds} | {
    "vortex, charge 2": {"pattern": Vortex(charge=2)},
    "vortex, mask off by 0.1": {"pattern": Vortex(mask_offset=(0.1, 0.0))},
    "vortex + top-hat overlay": {"overlay": Overlay(share=0.3)},
    "own mask: a cone": {"pattern": MaskFile(file=str(folder / "cone.npy"))},
}
base = sa.Setup(sampling=Sampling(samples=64, pixel_nm=(31.25, 31.25, 46.9)))
zero = sa.Wavefront.zero(base.modes)
rows = {}
for name, change in changes.items():
    setup = base.model_copy(update={"depletion": base.depletion.model_copy(update=change)})
    rows[name] = sa.focus(setup, zero, tolerance=1e-3)
rows["fluorescence, vortex"] = sa.effective_spot(base, zero)

figure = Figure(figsize=(17, 5.6), layout="constrained")
panels = figure.subplots(3, len(rows))
for column, (name, sections) in zip(panels.T, rows.items(), strict=True):
    column[0].set_title(name, fontsize=8)
    for axes, plane, label in zip(column, sections.data, ("xy", "xz", "yz"), strict=True):
        axes.imshow(plane, origin="lower", cmap="inferno", vmin=0)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(label, fontsize=8)
file = folder / "patterns.png"
figure.savefig(file, dpi=110)
print(f"{len(rows)} patterns: {file}")
