"""Simulating the image of a bead on a microscope with hidden aberrations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stedalign.config.setup import Setup
from stedalign.formats.ome_tiff import save_sections, save_volume
from stedalign.imaging.detector import Detector
from stedalign.optics.wavefront import Wavefront
from stedalign.progress import Cancel, Progress, Tell
from stedalign.ranges import LARGEST_SEED, check_range
from stedalign.simulator.microscope import make_microscope

MOST_PEAK_WAVES, MOST_OFF_CENTER_NM = 1.0, 2000.0
"""Of the standard deviations of each mode and of the bead's place."""


@dataclass(frozen=True)
class Simulated:
    """The truth about a simulated image."""

    file: Path
    seed: int
    wavefront: Wavefront
    bead_nm: tuple[float, float, float]
    """Where the bead lies, along x, y, z."""

    def to_json(self) -> dict[str, Any]:
        return {
            **self.wavefront.to_json(),
            "rms_waves": self.wavefront.rms_waves,
            "bead_nm": list(self.bead_nm),
            "file": str(self.file),
            "seed": self.seed,
        }


def simulate(
    setup: Setup,
    file: Path,
    *,
    seed: int = 0,
    photons: float | None = None,
    peak_waves: float = 0.1,
    wavefront: Wavefront | None = None,
    off_center_nm: float = 20.0,
    volume: bool = False,
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> Simulated:
    """Write three sections, or a whole ``volume``, as an OME-TIFF.

    ``photons`` are the counts at the crest of the ideal donut; the setup's without it. ``peak_waves`` is the standard
    deviation of each mode, un-normalized, unless the ``wavefront`` is given, and ``off_center_nm`` that of the bead's
    place along each axis. Raises ``InputError`` for values out of range.
    """
    for name, value, most in (
        ("seed", seed, LARGEST_SEED),
        ("peak_waves", peak_waves, MOST_PEAK_WAVES),
        ("off_center_nm", off_center_nm, MOST_OFF_CENTER_NM),
    ):
        check_range(name, value, 0, most)
    steps = Progress(progress, cancel)
    steps("simulating")
    detector = setup.detector
    if photons is not None:
        detector = Detector.parse(detector.model_dump() | {"photons": photons})
    generator = np.random.default_rng(seed)
    drawn = generator.normal(scale=peak_waves, size=len(setup.modes))
    hidden = Wavefront.from_peak_waves(setup.modes, drawn) if wavefront is None else wavefront
    x, y, z = generator.normal(scale=off_center_nm, size=3).tolist()
    microscope = make_microscope(
        setup.model_copy(update={"detector": detector}), seed, aberration=hidden, bead_offset_nm=(x, y, z)
    )
    microscope.shutter.open()
    if volume:
        counts = detector.expose(detector.expected(microscope.truth.volume()), generator)
        steps(f"writing {file}")
        whole = np.uint16 if detector.saturation <= 65535 else np.float32
        save_volume(file, counts.astype(whole), setup.sampling.pixel_nm, simulated=True)
    else:
        sections = microscope.source.acquire()
        steps(f"writing {file}")
        save_sections(file, sections)
    return Simulated(file, seed, hidden, (x, y, z))
