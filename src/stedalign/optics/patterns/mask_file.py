"""A mask of the user's own, from a file."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from stedalign.errors import InputError
from stedalign.optics.arrays import Array, namespace
from stedalign.optics.patterns.pattern import Mask, MaskRotation, MaskScale, Offset, turned
from stedalign.optics.pupil_maps import interpolate, phase_map, with_fingerprint


class MaskFile(Mask):
    """A mask of your own, an array or a gray image.

    Between its samples the phasor is interpolated (``pupil_maps``), so wraps and cores stay sharp.
    """

    kind: Literal["file"] = "file"
    file: str = ""
    """A square mask whose edges touch the pupil's, as .npy (radians) or as a gray image."""
    levels_per_2pi: float = Field(256.0, ge=2, le=65536)
    """Gray levels for one wave of phase, where the mask is an image."""
    sha256: str = ""
    """Fingerprint of the file; filled in when it is first read, and a file that has changed since is refused."""
    mask_scale: MaskScale = 1.0
    mask_rotation_deg: MaskRotation = 0.0

    is_rough: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _mark_the_file(cls, data: Any) -> Any:
        return with_fingerprint(data)

    @model_validator(mode="after")
    def _has_its_file(self) -> MaskFile:
        if not self.file:
            raise InputError('a mask of your own needs both kind = "file" and file = "..."')
        return self

    def phase(self, x: Array, y: Array, offset: Offset | None = None) -> Array:
        """As of every pattern. Raises ``InputError`` where the file is missing, has changed or holds no mask."""
        along, across = turned(*self.from_core(x, y, offset), self.mask_rotation_deg)
        values = phase_map(self.file, self.sha256, self.levels_per_2pi)
        cosine, sine = interpolate(values, along / self.mask_scale, across / self.mask_scale)
        return namespace(x).arctan2(sine, cosine)
