"""The phase masks that shape the focus."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stedalign.optics.spec import Spec


class Pattern(Spec):
    """A phase mask and where it sits on the pupil."""

    kind: Literal["vortex", "flat"] = "vortex"
    """vortex = donut; flat = Gaussian-like spot."""
    charge: int = Field(1, ge=-8, le=8)
    """Turns of 2 pi around the vortex; positive counts from +x to +y. Ignored by flat."""
    mask_offset: tuple[float, float] = (0.0, 0.0)
    """Shift (x, y) of the mask against the pupil, in pupil radii."""

    @model_validator(mode="after")
    def _is_a_mask(self) -> Pattern:
        if self.kind == "vortex" and self.charge == 0:
            raise ValueError("a vortex needs a charge that is not 0; the pattern without one is 'flat'")
        if not np.hypot(*self.mask_offset) <= 0.5:
            raise ValueError(f"mask_offset {self.mask_offset} is longer than 0.5 pupil radii")
        return self

    def phase(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mask's phase in radians at pupil points (pupil radii), shape of x."""
        if self.kind == "flat":
            return np.zeros_like(x)
        return self.charge * np.arctan2(y - self.mask_offset[1], x - self.mask_offset[0])
