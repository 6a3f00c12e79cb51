"""The phase masks that shape the focus."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from stedalign.errors import InputError
from stedalign.optics.arrays import Array, namespace
from stedalign.optics.pupil_maps import interpolate, phase_map, with_fingerprint
from stedalign.spec import Spec


class Pattern(Spec):
    """A phase mask and where it sits on the pupil."""

    kind: Literal["vortex", "top_hat", "half_moon", "bivortex", "flat", "file"] = "vortex"
    """vortex = donut; top_hat = phase step inside a ring, for a zero along z; half_moon = step across a line;
    bivortex = vortex and ring step together (coherent hybrid, Pereira et al. 2019); flat = Gaussian-like spot;
    file = your own mask."""
    charge: int = Field(1, ge=-8, le=8)
    """Turns of 2 pi around the vortex; positive counts from +x to +y. For vortex and bivortex."""
    ring_radius: float = Field(0.71, gt=0, le=2)
    """Radius of the ring step in pupil radii, for top_hat and bivortex. 0.71 darkens the center for a uniform fill
    at NA 1.4 in oil; a beam that fades towards the edge wants less."""
    step_waves: float = Field(0.5, gt=-1, lt=1)
    """Phase step in waves, inside the ring or on the side of -x; half a wave makes the zero."""
    mask_offset: tuple[float, float] = (0.0, 0.0)
    """Shift (x, y) of the mask against the pupil, in pupil radii."""
    mask_scale: float = Field(1.0, gt=0.1, lt=10)
    """Magnification of the mask on the pupil."""
    mask_rotation_deg: float = Field(0.0, ge=-180, le=180)
    """Rotation of the mask, from +x to +y."""
    file: str = ""
    """For kind = "file": a square mask whose edges touch the pupil's, as .npy (radians) or as a gray image."""
    levels_per_2pi: float = Field(256.0, ge=2, le=65536)
    """Gray levels for one wave of phase, where the mask is an image."""
    sha256: str = ""
    """Fingerprint of the file; filled in when it is first read, and a file that has changed since is refused."""

    @model_validator(mode="before")
    @classmethod
    def _mark_the_file(cls, data: Any) -> Any:
        return with_fingerprint(data)

    @model_validator(mode="after")
    def _is_a_mask(self) -> Pattern:
        if self.kind in ("vortex", "bivortex") and self.charge == 0:
            raise InputError("a vortex needs a charge that is not 0; the pattern without one is 'flat'")
        if self.kind in ("top_hat", "half_moon") and self.step_waves == 0:
            raise InputError(f"a {self.kind} needs a phase step; the pattern without one is 'flat'")
        if (self.kind == "file") != bool(self.file):
            raise InputError('a mask of your own needs both kind = "file" and file = "..."')
        if not np.hypot(*self.mask_offset) <= 0.5:
            raise InputError(f"mask_offset {self.mask_offset} is longer than 0.5 pupil radii")
        return self

    @property
    def has_zero(self) -> bool:
        """Whether the pattern is made to leave the focus dark."""
        return self.kind != "flat"

    @property
    def ring(self) -> float | None:
        """Radius around the core, in pupil radii, at which the phase steps; None without a ring."""
        return self.ring_radius * self.mask_scale if self.kind in ("top_hat", "bivortex") else None

    @property
    def edge_rad(self) -> float | None:
        """Direction of the straight line through the core at which the phase steps; None without one."""
        return np.deg2rad(self.mask_rotation_deg) + np.pi / 2 if self.kind == "half_moon" else None

    def phase(self, x: Array, y: Array, offset: tuple[Any, Any] | None = None) -> Array:
        """The mask's phase in radians at pupil points (pupil radii), shape of x.

        ``offset`` (numbers or arrays that broadcast with x) stands in for ``mask_offset``. Raises ``InputError`` where
        a mask's file is missing, has changed or holds no mask.
        """
        xp = namespace(x)
        shift_x, shift_y = self.mask_offset if offset is None else offset
        u, v = x - shift_x, y - shift_y
        turn = np.deg2rad(self.mask_rotation_deg)
        phase = u * 0.0 + v * 0.0
        if self.kind in ("vortex", "bivortex"):
            phase = phase + self.charge * (xp.arctan2(v, u) - turn)
        if self.ring is not None:
            phase = xp.where(u * u + v * v < self.ring**2, phase + 2 * np.pi * self.step_waves, phase)
        if self.kind == "half_moon":
            phase = xp.where(u * np.cos(turn) + v * np.sin(turn) < 0, phase + 2 * np.pi * self.step_waves, phase)
        if self.kind == "file":
            along = (u * np.cos(turn) + v * np.sin(turn)) / self.mask_scale
            across = (v * np.cos(turn) - u * np.sin(turn)) / self.mask_scale
            cosine, sine = interpolate(phase_map(self.file, self.sha256, self.levels_per_2pi), along, across)
            # The direction of the interpolated phasor: wraps and cores stay sharp between the map's samples.
            phase = phase + xp.arctan2(sine, cosine)
        return phase
