"""From a correction to the mask that corrects, and to its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stedalign.config.setup import Setup
from stedalign.files import replacing_all
from stedalign.instrument.mask_files import write_mask
from stedalign.instrument.protocols import Levels
from stedalign.instrument.slm_mask import mask_levels
from stedalign.optics.wavefront import Wavefront


@dataclass(frozen=True)
class SavedMask:
    """The files of a mask, and what it adds to the pattern."""

    mask: Path
    sidecar: Path
    correction: Wavefront

    def to_json(self) -> dict[str, Any]:
        return {"mask": str(self.mask), "sidecar": str(self.sidecar), **self.correction.to_json()}


def mask(setup: Setup, path: Path, correction: Wavefront) -> SavedMask:
    """Write the mask of the depletion beam's pattern with a correction added, and its side-car.

    Raises ``InputError`` for a suffix that is neither .bmp nor .png, and for a correction beyond range.
    """
    save_mask(setup, correction_levels(setup, correction), correction, path)
    return SavedMask(path, path.with_suffix(".json"), correction)


def correction_levels(setup: Setup, correction: Wavefront) -> Levels:
    """Gray levels (rows, columns) of the depletion beam's pattern with a correction added.

    Raises ``InputError`` for one beyond range.
    """
    correction.check_range()
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
    """Write ``mask.bmp`` for the SLM's software and ``mask.png`` for people, with one side-car; returns the BMP.

    All of them are there in the end, or none.
    """
    with replacing_all(folder) as staging:
        for name in ("mask.png", "mask.bmp"):
            save_mask(setup, levels, correction, staging / name)
    return folder / "mask.bmp"
