"""The loop: picture, estimate, correction, again, with the better mask always kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from stedalign.alignment.policy import Policy
from stedalign.devices.protocols import Levels, Microscope
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.estimate import Estimate, PictureError
from stedalign.imaging.quality import correlation
from stedalign.imaging.sections import OrthoSections
from stedalign.optics.wavefront import Wavefront

Displacement = tuple[float, float, float]


class AlignmentError(RuntimeError):
    """The loop cannot go on, with the reason; the mask that was shown before is back on the SLM."""


@dataclass(frozen=True)
class Centered:
    """The stage moved the bead towards the middle."""

    displacement_nm: Displacement


@dataclass(frozen=True, eq=False)
class Measured:
    """A picture was taken under a correction and understood, or refused."""

    number: int
    """How many corrections had been tried before."""
    correction: Wavefront
    levels: Levels
    sections: OrthoSections
    estimate: Estimate
    correlation: float
    """Pearson correlation of the picture with the focus it should become."""
    kept: bool
    """Whether this mask is now the best one."""


@dataclass(frozen=True)
class Finished:
    """The loop has ended and ``best`` is on the SLM, unless there is none: then the former mask is."""

    converged: bool
    reason: str


Event = Centered | Measured | Finished


def align(
    microscope: Microscope,
    estimator: Callable[[OrthoSections], Estimate],
    mask: Callable[[Wavefront], Levels],
    start: Wavefront,
    policy: Policy,
) -> Iterator[Event]:
    """Run the loop, yielding what happens as it happens.

    ``mask`` turns a correction into gray levels. Whatever ends the loop (also closing the iterator, an exception,
    Ctrl-C), the SLM is left with the best measured mask if the loop ended by itself and with the mask it found
    otherwise, and the microscope is closed. Raises ``AlignmentError`` where a picture cannot be used.
    """
    before = microscope.slm.shown()
    final = before
    try:
        if microscope.shutter is not None:
            microscope.shutter.open()
        best: Measured | None = None
        correction = start
        for number in range(policy.max_corrections + 1):
            levels = mask(correction)
            microscope.slm.show(levels)
            try:
                sections = yield from _center(microscope, policy)
                estimate = estimator(sections)
            except PictureError as error:
                raise AlignmentError(str(error)) from error
            likeness = correlation(sections.data, estimate.ideal)
            kept = (
                estimate.accepted
                if best is None
                else policy.is_better(estimate, best.estimate, likeness, best.correlation)
            )
            measured = Measured(number, correction, levels, sections, estimate, likeness, kept)
            yield measured
            if not kept:
                finished = _not_kept(measured, best, policy)
                break
            best, final = measured, levels
            if policy.is_aligned(estimate):
                finished = Finished(True, "what is left is below the target or below its own noise")
                break
            if number == policy.max_corrections:
                finished = Finished(False, f"stopped after {number} corrections")
                break
            _move_by(microscope, estimate.shift_nm, policy)
            correction = policy.next_correction(correction, estimate)
        microscope.slm.show(final)
        yield finished
    except BaseException:
        microscope.slm.show(before)
        raise
    finally:
        microscope.close()


def _not_kept(measured: Measured, best: Measured | None, policy: Policy) -> Finished:
    if best is None:
        return Finished(False, measured.estimate.reason)
    near = policy.residual_waves(best.estimate) <= 2 * policy.target_waves
    return Finished(near, "the last correction did not measure better; the one before it is kept")


def _center(microscope: Microscope, policy: Policy) -> Generator[Event, None, OrthoSections]:
    """Move the bead to the middle by its center of mass; the last picture is the generator's return value."""
    sections = microscope.source.acquire()
    last = math.inf
    for _ in range(policy.max_center_moves):
        displacement = displacement_nm(sections)
        distance = math.hypot(*displacement)
        if distance <= policy.center_within_nm:
            break
        if distance > 1.5 * last:
            raise AlignmentError(
                f"centering runs away ({last:.0f} nm, then {distance:.0f} nm): check the stage's axes and signs"
            )
        last = distance
        _move_by(microscope, displacement, policy)
        yield Centered(displacement)
        sections = microscope.source.acquire()
    return sections


def _move_by(microscope: Microscope, displacement: Displacement, policy: Policy) -> None:
    if math.hypot(*displacement) < policy.center_within_nm / 3:
        return
    x, y, z = (position + step for position, step in zip(microscope.stage.position_nm(), displacement, strict=True))
    try:
        microscope.stage.move_to_nm(x, y, z)
    except ValueError as error:
        raise AlignmentError(f"the bead cannot be centered: {error}") from error
