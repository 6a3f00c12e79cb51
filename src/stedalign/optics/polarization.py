"""The polarization of a beam in front of the objective, pure or none."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stedalign.errors import InputError
from stedalign.optics.arrays import Array, namespace
from stedalign.optics.pupil_maps import interpolate, jones_map, with_fingerprint
from stedalign.spec import Spec


class Polarization(Spec):
    """A polarization in front of the objective: one ellipse everywhere, a vector beam, a map, or none."""

    kind: Literal["uniform", "radial", "azimuthal", "file", "unpolarized"] = "uniform"
    """uniform = the ellipse below; radial and azimuthal = linear along or across the radius; file = your own map;
    unpolarized = none, as the light of a fluorescent bead."""

    ellipticity_deg: float = Field(45.0, ge=-45, le=45)
    """+45 is circular, turning from +x to +y in time, and gives the zero of a vortex of positive charge;
    -45 turns the other way; 0 is linear."""
    azimuth_deg: float = Field(0.0, ge=-180, le=180)
    """Direction of the ellipse's long axis, from +x to +y."""

    file: str = ""
    """For kind = "file": an .npy array (2, N, N), the complex Ex and Ey on a square whose edges touch the pupil's."""
    sha256: str = ""
    """Fingerprint of the file; filled in when it is first read, and a file that has changed since is refused."""

    @model_validator(mode="before")
    @classmethod
    def _mark_the_file(cls, data: Any) -> Any:
        return with_fingerprint(data) if isinstance(data, dict) and data.get("kind") == "file" else data

    @model_validator(mode="after")
    def _has_its_file(self) -> Polarization:
        if (self.kind == "file") != bool(self.file):
            raise InputError('a polarization map needs both kind = "file" and file = "..."')
        return self

    @property
    def components(self) -> list[Polarization]:
        """The pure polarizations, equally strong, that add as intensities."""
        if self.kind != "unpolarized":
            return [self]
        # Any orthogonal pair has the same sum.
        return [Polarization(ellipticity_deg=0.0, azimuth_deg=azimuth) for azimuth in (0.0, 90.0)]

    def field(self, x: Array, y: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Real and imaginary part of Ex, and those of Ey, at pupil points (pupil radii); each of x's shape.

        Raises ``InputError`` where a map's file is missing, has changed or holds no map, and for unpolarized light.
        """
        xp, zero = namespace(x), x * 0.0 + y * 0.0
        if self.kind == "unpolarized":
            raise InputError("unpolarized light has no single field: take its components one by one")
        if self.kind == "file":
            channels = interpolate(jones_map(self.file, self.sha256), x, y)
            return (channels[0], channels[1]), (channels[2], channels[3])
        if self.kind != "uniform":
            azimuth = xp.arctan2(y, x) + (np.pi / 2 if self.kind == "azimuthal" else 0.0)
            return (xp.cos(azimuth), zero), (xp.sin(azimuth), zero)
        chi, psi = zero + np.radians(self.ellipticity_deg), zero + np.radians(self.azimuth_deg)
        along, across = xp.cos(chi), xp.sin(chi)
        return (along * xp.cos(psi), -across * xp.sin(psi)), (along * xp.sin(psi), across * xp.cos(psi))

    @property
    def jones(self) -> NDArray[np.complex128]:
        """Unit Jones vector (Ex, Ey) of the ellipse, for the kernel exp(+ikr), that is exp(-i omega t) in time.

        Raises ``InputError`` for a polarization that is not the same everywhere.
        """
        if self.kind != "uniform":
            raise InputError(f"light of the polarization '{self.kind}' has no Jones vector of its own")
        origin = np.zeros(())
        (x_real, x_imag), (y_real, y_imag) = self.field(origin, origin)
        return np.array([x_real + 1j * x_imag, y_real + 1j * y_imag])
