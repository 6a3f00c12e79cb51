"""Estimate the aberrations in an image: here a simulated one, saved and read back as a file would be."""

import sys
from pathlib import Path

import stedalign as sa
from stedalign.formats.ome_tiff import save_sections
from stedalign.simulator.microscope import make_microscope

setup = sa.Setup()
hidden = sa.Wavefront(sa.ModeSet.of([(2, 2), (3, -1)]), (0.05, -0.03)).on(setup.modes)
microscope = make_microscope(setup, seed=1, aberration=hidden, bead_offset_nm=(20.0, -10.0, 30.0))
microscope.shutter.open()

file = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "bead.ome.tif"
save_sections(file, microscope.source.acquire())

found = sa.estimate(sa.load_stack(file), setup)
print("mode                            hidden   found ± sigma   (mλ)")
for mode, truth, waves, sigma in zip(setup.modes, hidden.waves, found.wavefront.waves, found.sigma_waves, strict=True):
    print(f"{mode.name:30} {1e3 * truth:7.1f} {1e3 * waves:7.1f} ± {1e3 * sigma:.1f}")
print(f"{found.grade}, reduced chi2 {found.reduced_chi2:.2f}, null ratio {found.null_ratio:.2%}")
