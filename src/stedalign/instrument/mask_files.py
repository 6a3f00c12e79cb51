"""Mask files: the gray image that a vendor's tool loads, and a side-car that says what it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from stedalign.errors import InputError
from stedalign.files import replacing, replacing_all, write_json
from stedalign.instrument.protocols import Levels
from stedalign.optics.wavefront import RMS_UNIT, Wavefront

FORMATS = {".bmp": "BMP", ".png": "PNG"}
CORRECTION_SIGN = "added to the pupil phase"
"""How a side-car says that its wavefront is a correction, not a misalignment."""


def levels_hash(levels: Levels) -> str:
    """SHA-256 of the gray levels, row by row, as hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(levels, dtype=np.uint8).tobytes()).hexdigest()


def sidecar_path(path: Path | str) -> Path:
    """The JSON file that belongs to a mask file."""
    return Path(path).with_suffix(".json")


def write_mask(
    path: Path | str, levels: Levels, *, correction: Wavefront | None, wavelength_nm: float, levels_per_2pi: float
) -> Path:
    """Write ``levels`` (rows, columns) as an 8-bit gray BMP or PNG, and its JSON side-car, which is returned.

    ``correction`` is None for a mask that was found on the panel. The suffix decides the format. Both files are
    written elsewhere and then renamed, so nobody ever loads half a mask or one without its side-car. Raises
    ``InputError`` for another suffix, or levels that are not two-dimensional uint8.
    """
    path = Path(path)
    _check_suffix(path)
    if levels.ndim != 2 or levels.dtype != np.uint8:
        raise InputError(f"a mask is a two-dimensional uint8 image, got {levels.dtype} of the shape {levels.shape}")
    description = {
        **(correction.to_json() if correction is not None else {"modes": None, "waves": None}),
        "unit": RMS_UNIT,
        "sign": CORRECTION_SIGN,
        "wavelength_nm": wavelength_nm,
        "levels_per_2pi": levels_per_2pi,
        "shape": list(levels.shape),
        "sha256": levels_hash(levels),
    }
    with replacing_all(path.parent) as folder:
        with replacing(folder / path.name) as temporary:
            Image.fromarray(levels).save(temporary, format=FORMATS[path.suffix.lower()])
        write_json(folder / sidecar_path(path).name, description)
    return sidecar_path(path)


def read_mask(path: Path | str) -> Levels:
    """The gray levels (rows, columns) of a mask file.

    Raises ``InputError`` when the file is not an 8-bit gray BMP or PNG, or when it is not the image that its
    side-car describes; ``FileNotFoundError`` when it is missing.
    """
    path = Path(path)
    _check_suffix(path)
    try:
        with Image.open(path) as image:
            mode, levels = image.mode, np.array(image)
    except (OSError, SyntaxError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(f"{path} is not a readable image: {error}") from error
    if mode != "L":
        raise InputError(f"{path} is not an 8-bit gray image but of mode {mode}")
    sidecar = sidecar_path(path)
    if sidecar.exists():
        try:
            promised = json.loads(sidecar.read_text())["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{sidecar} does not describe a mask") from error
        if promised != levels_hash(levels):
            raise InputError(f"{path} is not the mask that {sidecar.name} describes: its SHA-256 differs")
    return levels


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"mask files end in {' or '.join(FORMATS)}, got {path.name}")
