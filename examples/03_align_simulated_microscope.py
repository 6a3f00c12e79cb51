"""Align a simulated microscope in a closed loop.

For a real one, name its factory in the place of "simulated", without a seed; it cannot tell the true wavefront."""

import sys
from pathlib import Path

import stedalign as sa

setup = sa.Setup()
microscope = sa.load_microscope("simulated", setup, seed=3)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "alignment"

result = sa.align(microscope, setup, folder, watch=lambda event: print(type(event).__name__))
print(result.restored)
print(f"{result.finished.reason} after {result.corrections} corrections")
print(f"true wavefront {1e3 * result.truth_before.rms_waves:.1f} -> {1e3 * result.truth_after.rms_waves:.1f} mλ rms")
print(f"picture: {result.picture}")
