"""The way of the light from the bead to the detector."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from stedalign.spec import Spec, or_infinite


class Detection(Spec):
    """The confocal pinhole through which the objective sees the bead."""

    pinhole_airy: Annotated[float, Field(ge=0.2), or_infinite(1e6)] = math.inf
    """Diameter of the pinhole over that of the Airy disk, 1.22 wavelength / NA; inf = open, as is a detector behind no
    pinhole. Counts at the crest are those that an open pinhole would let through."""

    @property
    def inverse_pinhole_cubed(self) -> float:
        """1 / pinhole_airy^3, 0 for an open one."""
        return (1 / self.pinhole_airy) ** 3


OPEN = Detection()
"""Nothing in the way."""
