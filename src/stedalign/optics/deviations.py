"""Whether parameters can deviate as far as they are asked to."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stedalign.errors import InputError
from stedalign.optics.beam import Beam
from stedalign.optics.parameters import (
    BEAM_PARAMETERS,
    HALVES_OFFSETS,
    IMAGE_PARAMETERS,
    MASK_OFFSETS,
    PARAMETERS,
    farthest_core,
    room_for_offsets,
)


def check_free(beam: Beam, free: Mapping[str, float]) -> None:
    """Raise ``InputError`` for ``free`` parameters, with their largest deviations, that a focus of a beam cannot have.

    That no beam has or not this one, that deviate farther than the focus follows, or that take the mask's core out of
    the light.
    """
    unknown = [name for name in free if name not in (*BEAM_PARAMETERS, *IMAGE_PARAMETERS)]
    if unknown:
        known = ", ".join((*BEAM_PARAMETERS, *IMAGE_PARAMETERS))
        raise InputError(f"no beam has a parameter {', '.join(unknown)}; known: {known}")
    for name, most in free.items():
        if reason := PARAMETERS[name].lacking(beam):
            raise InputError(f"{name} {reason}")
        check_deviation(name, most)
    if any(name in free for name in (*MASK_OFFSETS, *HALVES_OFFSETS)):
        _check_core(beam, [_farthest_offset(free, axis) for axis in range(2)])


def within_room(beam: Beam, free: Mapping[str, float]) -> dict[str, float]:
    """The same ``free`` parameters, whose masks stay in the light where they deviate as offset and halves together."""
    farthest = max(_farthest_offset(free, axis) for axis in range(2))
    if not any(name in free for name in HALVES_OFFSETS) or farthest <= room_for_offsets(beam):
        return dict(free)
    share = room_for_offsets(beam) / farthest
    return {name: most * share if name in (*MASK_OFFSETS, *HALVES_OFFSETS) else most for name, most in free.items()}


def _farthest_offset(free: Mapping[str, float], axis: int) -> float:
    """How far a mask may deviate along x (0) or y (1), on one half of the light or the other."""
    return free.get(MASK_OFFSETS[axis], 0.0) + free.get(HALVES_OFFSETS[axis], 0.0)


def check_deviation(name: str, most: float) -> None:
    """Raise ``InputError`` where a parameter cannot deviate by up to ``most``."""
    limit = PARAMETERS[name].limit
    if not (0 < most <= limit and math.isfinite(most)):
        raise InputError(f"the largest deviation of {name} must lie between 0 and {limit:g}, got {most:g}")


def _check_core(beam: Beam, deviations: list[float]) -> None:
    """Raise ``InputError`` where the mask's core may leave the light, or come too near to its edge."""
    cores = [part.pattern.core for part in beam.components]
    farthest = max(math.hypot(*(abs(x) + most for x, most in zip(core, deviations, strict=True))) for core in cores)
    if farthest >= farthest_core(beam) or room_for_offsets(beam) == 0:
        raise InputError(
            f"a mask offset of up to {farthest:.2g} pupil radii is too far; it must stay below "
            f"{farthest_core(beam):.2g}"
        )
