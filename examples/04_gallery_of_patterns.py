"""Every pattern's focus in three sections, and what the fluorescence keeps of a spot under the donut."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

import stedalign as sa
from stedalign.imaging.sections import Sampling
from stedalign.optics.patterns import Pattern

patterns = {
    "vortex, charge 1": Pattern(),
    "vortex, charge 2": Pattern(charge=2),
    "top-hat": Pattern(kind="top_hat"),
    "half-moon": Pattern(kind="half_moon"),
    "bivortex": Pattern(kind="bivortex", ring_radius=0.4),
    "vortex, mask off by 0.1": Pattern(mask_offset=(0.1, 0.0)),
    "flat": Pattern(kind="flat"),
}
base = sa.Setup(sampling=Sampling(samples=64, pixel_nm=(31.25, 31.25, 46.9)))
zero = sa.Wavefront.zero(base.modes)
rows = {}
for name, pattern in patterns.items():
    setup = base.model_copy(update={"depletion": base.depletion.model_copy(update={"pattern": pattern})})
    rows[name] = sa.focus(setup, zero, tolerance=1e-4)
rows["fluorescence under the vortex"] = sa.effective_spot(base, zero)

figure = Figure(figsize=(14, 5.6), layout="constrained")
panels = figure.subplots(3, len(rows))
for column, (name, sections) in zip(panels.T, rows.items(), strict=True):
    column[0].set_title(name, fontsize=8)
    for axes, plane, label in zip(column, sections.data, ("xy", "xz", "yz"), strict=True):
        axes.imshow(plane, origin="lower", cmap="inferno", vmin=0)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(label, fontsize=8)
file = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "patterns.png"
figure.savefig(file, dpi=110)
print(f"{len(rows)} patterns: {file}")
