"""From a correction to the mask that corrects, and to its files."""

from __future__ import annotations

from pathlib import Path

from stedalign.config.setup import Setup
from stedalign.instrument.mask_files import write_mask
from stedalign.instrument.protocols import Levels
from stedalign.instrument.slm_mask import mask_levels
from stedalign.optics.wavefront import Wavefront


def correction_levels(setup: Setup, correction: Wavefront) -> Levels:
    """Gray levels (rows, columns) of the depletion beam's pattern with a correction added."""
    return mask_levels(setup.slm, setup.depletion.pattern, correction)


def save_mask(setup: Setup, levels: Levels, correction: Wavefront | None, path: Path) -> Path:
    """Write gray levels as ``path`` (BMP or PNG) with a JSON side-car that tells the correction; returns ``path``."""
    write_mask(
        path,
        levels,
        correction=correction,
        wavelength_nm=setup.depletion.wavelength_nm,
        levels_per_2pi=setup.slm.levels_per_2pi,
    )
    return path


def save_masks(setup: Setup, levels: Levels, correction: Wavefront | None, folder: Path) -> Path:
    """Write ``mask.bmp`` for the SLM's software and ``mask.png`` for people, with one side-car; returns the BMP."""
    save_mask(setup, levels, correction, folder / "mask.png")
    return save_mask(setup, levels, correction, folder / "mask.bmp")
