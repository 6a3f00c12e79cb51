"""Where which parameter of an image stands in the one vector that forward model and fit share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stedalign.optics.beam import Beam
from stedalign.optics.detection import OPEN, Detection
from stedalign.optics.parameters import (
    BACKGROUND,
    DRIFTS,
    MASK_OFFSETS,
    PARAMETERS,
    SCALE,
    SHIFTS,
    UNEVENNESS,
    nominal,
)
from stedalign.optics.wavefront import ModeSet


class ParameterValues(NamedTuple):
    """The parameters of B images, each kind by itself."""

    waves: Float[Tensor, "images modes"]
    """Coefficients (B, modes) in rms waves."""
    shift_nm: Float[Tensor, "images 3"]
    """Displacement of the image along x, y, z, (B, 3)."""
    drift_nm: Float[Tensor, "images parts 3"]
    """Further displacement of each part, (B, parts, 3); (B, 0, 3) where nothing drifts."""
    free: Float[Tensor, "images free"]
    """The free parameters of beam, image and detection, (B, free)."""
    scale: Float[Tensor, "images parts"]
    """Counts at the unaberrated crest of each part, (B, parts)."""
    background: Float[Tensor, "images parts"]
    """Counts of each part, (B, parts)."""
    surface: Float[Tensor, "images uneven 5"]
    """Counts of the terms of each part's uneven background, (B, parts, 5); (B, 0, 5) where it is even."""


@dataclass(frozen=True)
class ParameterLayout:
    """The order of a parameter vector: modes, shift, drifts, free parameters, scales, backgrounds, their surfaces.

    Each of them is a slice by that name; ``focus`` is all but the light: what a ``Focus`` takes, and after it what is
    free of the detection.
    """

    beam: Beam
    mode_set: ModeSet
    parts: tuple[str, ...]
    """Of the image."""
    free_names: tuple[str, ...] = ()
    """Of ``optics.parameters``, as ``ForwardModel.reach``."""
    drifting: bool = False
    detection: Detection = OPEN
    uneven: bool = False
    """Whether the background may change over each part."""

    def __len__(self) -> int:
        return self.surface.stop

    @cached_property
    def modes(self) -> slice:
        return slice(0, len(self.mode_set))

    @cached_property
    def shift(self) -> slice:
        return slice(self.modes.stop, self.modes.stop + len(SHIFTS))

    @cached_property
    def drift(self) -> slice:
        return slice(self.shift.stop, self.shift.stop + self.drifting * len(DRIFTS) * len(self.parts))

    @cached_property
    def free(self) -> slice:
        return slice(self.drift.stop, self.drift.stop + len(self.free_names))

    @cached_property
    def scale(self) -> slice:
        return slice(self.free.stop, self.free.stop + len(self.parts))

    @cached_property
    def background(self) -> slice:
        return slice(self.scale.stop, self.scale.stop + len(self.parts))

    @cached_property
    def surface(self) -> slice:
        return slice(self.background.stop, self.background.stop + self.uneven * len(UNEVENNESS) * len(self.parts))

    @cached_property
    def focus(self) -> slice:
        return slice(0, self.free.stop)

    @cached_property
    def mask_offset(self) -> list[int]:
        """The columns of the mask's offset along x and y; empty where it is not free."""
        return self.columns(MASK_OFFSETS)

    @cached_property
    def nominal(self) -> tuple[float, ...]:
        """The values of the free parameters where all is as the setup says."""
        return tuple(nominal(self.beam, name, self.detection) for name in self.free_names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of all parameters, for people."""
        return (
            *(mode.name for mode in self.mode_set),
            *(PARAMETERS[name].label for name in SHIFTS),
            *(_of_part(name, part) for part in self.parts for name in DRIFTS if self.drifting),
            *(PARAMETERS[name].label for name in self.free_names),
            *(_of_part(SCALE, part) for part in self.parts),
            *(_of_part(BACKGROUND, part) for part in self.parts),
            *(_of_part(name, part) for part in self.parts for name in UNEVENNESS if self.uneven),
        )

    def columns(self, names: Iterable[str]) -> list[int]:
        """Where those of these parameters stand that are free."""
        return [self.free.start + self.free_names.index(name) for name in names if name in self.free_names]

    def of_part(self, part: int) -> list[int]:
        """The columns of a part's own place and light."""
        drifts, terms = len(DRIFTS) * self.drifting, len(UNEVENNESS) * self.uneven
        return [
            *range(self.drift.start + drifts * part, self.drift.start + drifts * (part + 1)),
            self.scale.start + part,
            self.background.start + part,
            *range(self.surface.start + terms * part, self.surface.start + terms * (part + 1)),
        ]

    def pack_focus(
        self,
        waves: Float[Tensor, "images {len(self.mode_set)}"],
        shift_nm: Float[Tensor, "images 3"] | None = None,
        drift_nm: Float[Tensor, "images parts 3"] | None = None,
        free: Float[Tensor, "images {len(self.free_names)}"] | None = None,
    ) -> Float[Tensor, "images {self.focus.stop}"]:
        """Vectors (B, focus.stop) of all but the light, in the precision of ``waves``.

        Shapes are those of ``ParameterValues``; what is not given is as the setup says.
        """
        vectors = waves.new_zeros(len(waves), self.focus.stop)
        vectors[:, self.modes] = waves
        if shift_nm is not None:
            vectors[:, self.shift] = shift_nm.to(vectors)
        if drift_nm is not None:
            vectors[:, self.drift] = drift_nm.flatten(1).to(vectors)
        vectors[:, self.free] = vectors.new_tensor(self.nominal) if free is None else free.to(vectors)
        return vectors

    def pack(self, values: ParameterValues) -> Float[Tensor, "images {len(self)}"]:
        """Vectors (B, P)."""
        focus = self.pack_focus(values.waves, values.shift_nm, values.drift_nm, values.free)
        light = [part.flatten(1).to(focus) for part in (values.scale, values.background, values.surface)]
        return torch.cat([focus, *light], dim=1)

    def unpack(self, vectors: Float[Tensor, "images {len(self)}"]) -> ParameterValues:
        """The parts of vectors (B, P), as views of them."""
        return ParameterValues(
            waves=vectors[:, self.modes],
            shift_nm=vectors[:, self.shift],
            drift_nm=vectors[:, self.drift].unflatten(1, (-1 if self.drifting else 0, len(DRIFTS))),
            free=vectors[:, self.free],
            scale=vectors[:, self.scale],
            background=vectors[:, self.background],
            surface=vectors[:, self.surface].unflatten(1, (-1 if self.uneven else 0, len(UNEVENNESS))),
        )


def _of_part(name: str, part: str) -> str:
    first, *axis = PARAMETERS[name].label.split()
    return " ".join([first, part, *axis])
