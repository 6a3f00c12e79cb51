"""What every pattern has: a kind, a phase, and where that phase steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from stedalign.errors import InputError
from stedalign.optics.arrays import Array
from stedalign.spec import Spec

Offset = tuple[Any, Any]
"""Where a mask lies (x, y), in pupil radii: numbers, or arrays that broadcast with the points."""

REGISTERED: dict[str, type[Pattern]] = {}
"""The kinds whose files have been imported."""


def _turns_around(charge: int) -> int:
    if charge == 0:
        raise InputError("a vortex needs a charge that is not 0; the pattern without one is 'flat'")
    return charge


def _steps(waves: float) -> float:
    if waves == 0:
        raise InputError("this pattern needs a phase step that is not 0; the pattern without one is 'flat'")
    return waves


Charge = Annotated[
    int,
    Field(ge=-8, le=8, description="Turns of 2 pi around the core; positive counts from +x to +y."),
    AfterValidator(_turns_around),
]
StepWaves = Annotated[float, Field(gt=-1, lt=1)]
NonzeroStepWaves = Annotated[StepWaves, AfterValidator(_steps)]
RingRadius = Annotated[float, Field(gt=0, le=2)]
MaskScale = Annotated[float, Field(gt=0.1, lt=10, description="Magnification of the mask on the pupil.")]
MaskRotation = Annotated[float, Field(ge=-180, le=180, description="Rotation of the mask, from +x to +y.")]


class Pattern(Spec, ABC):
    """How a phase mask shapes the focus.

    A kind is a subclass with its name as the default of ``kind``, in a file of this folder, in a package that names it
    in the entry-point group ``stedalign.patterns``, or in any module, with ``package.module:Class`` as its name.
    """

    kind: str
    """Which pattern."""

    has_zero: ClassVar[bool] = True
    """Whether the pattern is made to leave the focus dark."""
    can_move: ClassVar[bool] = False
    """Whether it matters where the pattern lies on the pupil."""
    is_rough: ClassVar[bool] = False
    """Whether the phase may step elsewhere than at ``rings`` and ``edges_rad``; a focus is then less accurate, with a
    warning, than was asked for."""

    @classmethod
    def __pydantic_init_subclass__(cls, **arguments: Any) -> None:
        super().__pydantic_init_subclass__(**arguments)
        kind = cls.model_fields["kind"].default
        if isinstance(kind, str):
            known = REGISTERED.setdefault(kind, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise TypeError(f"{cls.__module__}:{cls.__qualname__}: there is a pattern '{kind}' already, {known}")
            REGISTERED[kind] = cls

    @property
    def core(self) -> tuple[float, float]:
        """Where the pattern's core lies on the pupil, in pupil radii: the middle of what it does to the phase."""
        return 0.0, 0.0

    @property
    def rings(self) -> tuple[float, ...]:
        """Radii around the core, in pupil radii, at which the phase steps."""
        return ()

    @property
    def edges_rad(self) -> tuple[float, ...]:
        """Directions from the core, counted from +x to +y, along which the phase steps; a straight line has two."""
        return ()

    @abstractmethod
    def phase(self, x: Array, y: Array, offset: Offset | None = None) -> Array:
        """The phase in radians at pupil points (pupil radii), shape of x; ``offset`` stands in for that of the mask."""


class Mask(Pattern):
    """A pattern with a core, which may lie off the pupil's center."""

    mask_offset: tuple[float, float] = (0.0, 0.0)
    """Shift (x, y) of the mask against the pupil, in pupil radii."""

    can_move: ClassVar[bool] = True

    @model_validator(mode="after")
    def _lies_on_the_pupil(self) -> Self:
        if not np.hypot(*self.mask_offset) <= 0.5:
            raise InputError(f"mask_offset {self.mask_offset} is longer than 0.5 pupil radii")
        return self

    @property
    def core(self) -> tuple[float, float]:
        return self.mask_offset

    def from_core(self, x: Array, y: Array, offset: Offset | None = None) -> tuple[Array, Array]:
        """The points (x, y) as seen from the core; ``offset`` stands in for ``mask_offset``."""
        shift_x, shift_y = self.mask_offset if offset is None else offset
        return x - shift_x, y - shift_y


def turned(u: Array, v: Array, mask_rotation_deg: float) -> tuple[Array, Array]:
    """Points seen from the core along the axes of a mask that is rotated."""
    turn = np.deg2rad(mask_rotation_deg)
    return u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
