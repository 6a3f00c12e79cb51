"""Units of length, as the makers of image files write them."""

from __future__ import annotations

import math

NM_PER_UNIT = {
    **dict.fromkeys(("nm", "nanometer", "nanometers"), 1.0),
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometers", "\\u00b5m"), 1e3),
    **dict.fromkeys(("mm", "millimeter", "millimeters"), 1e6),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 1e7),
    **dict.fromkeys(("inch", "inches"), 2.54e7),
    **dict.fromkeys(("m", "meter", "meters"), 1e9),
    "pm": 1e-3,
    "å": 0.1,
    "angstrom": 0.1,
}


def in_nm(size: float, unit: str) -> float:
    """A size in nm; nan in a unit that is no length, such as "pixel"."""
    return size * NM_PER_UNIT.get(unit.strip().lower(), math.nan)
