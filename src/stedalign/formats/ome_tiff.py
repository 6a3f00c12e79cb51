"""OME-TIFF out: volumes and three-plane stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from stedalign.files import replacing
from stedalign.formats.ome_xml import SIMULATED
from stedalign.imaging.images import PLANES, OrthoSections, PixelSize


def save_sections(path: Path | str, sections: OrthoSections) -> None:
    """Write three sections as an OME-TIFF of channels xy, xz, yz; 16 bit where the counts fit, else float32."""
    counts = sections.data
    whole = bool((counts == np.rint(counts)).all() and counts.min() >= 0 and counts.max() <= 65535)
    _write(Path(path), counts.astype(np.uint16 if whole else np.float32), "CYX", sections.pixel_nm, sections.simulated)


def save_volume(path: Path | str, counts: NDArray[Any], pixel_nm: PixelSize, *, simulated: bool = False) -> None:
    """Write a volume (Z, Y, X) of counts as an OME-TIFF."""
    _write(Path(path), counts, "ZYX", pixel_nm, simulated)


def _write(path: Path, data: NDArray[Any], axes: str, pixel_nm: PixelSize, simulated: bool) -> None:
    metadata: dict[str, Any] = {"axes": axes, "Description": SIMULATED if simulated else ""}
    for axis, size in zip("XYZ", pixel_nm, strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    if axes == "CYX":
        metadata["Channel"] = {"Name": list(PLANES)}
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, data, ome=True, photometric="minisblack", metadata=metadata)
