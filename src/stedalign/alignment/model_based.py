"""The loop: image, estimate, correction, again, with the better mask always kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from stedalign.alignment.policy import Policy
from stedalign.errors import JobError
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.checks import ImageError, check_image
from stedalign.estimation.estimate import Estimate
from stedalign.imaging.images import OrthoSections
from stedalign.imaging.metrics import correlation
from stedalign.instrument.protocols import Levels, Microscope, Position
from stedalign.optics.wavefront import Wavefront


class AlignmentError(JobError):
    """The loop cannot go on, with the reason; mask and stage are back where they were before."""


@dataclass(frozen=True)
class Centered:
    """The stage moved the bead towards the middle."""

    displacement_nm: Position


@dataclass(frozen=True, eq=False)
class Measured:
    """An image was taken under a mask and understood, or refused."""

    number: int
    """How many corrections had been tried before."""
    correction: Wavefront | None
    """What the mask adds to the pattern; None for the mask that was found on the SLM."""
    levels: Levels
    sections: OrthoSections
    estimate: Estimate
    correlation: float
    """Pearson correlation of the image with the unaberrated focus, displaced and scaled as fitted."""
    kept: bool = False
    """Whether this mask is now the best one."""


@dataclass(frozen=True, eq=False)
class Finished:
    """The loop has ended by itself."""

    converged: bool
    reason: str
    shown: Measured | None
    """What is on the SLM now; None where no image was usable and the former mask is back."""


Event = Centered | Measured | Finished


def align(
    microscope: Microscope,
    estimator: Callable[[OrthoSections], Estimate],
    mask: Callable[[Wavefront], Levels],
    start: Wavefront,
    policy: Policy,
) -> Generator[Event]:
    """Run the loop, yielding what happens as it happens.

    ``mask`` turns a correction into gray levels. A mask found on the SLM that is not the one to start from competes:
    where the best new one does not measure better, it is shown again. If the loop ends by itself the best measured
    mask stays; whatever else ends it (closing the iterator, an exception, Ctrl-C) restores mask and stage. The
    microscope is closed in any case, before the last event. Raises ``AlignmentError`` where no image can be used.
    """
    bench = _Bench(microscope, estimator, policy, home=microscope.stage.position_nm())
    before = microscope.slm.shown()
    try:
        if microscope.shutter is not None:
            microscope.shutter.open()
        found = None
        if not np.array_equal(before, mask(start)):
            found = yield from _measure_found(bench, before)
        finished = yield from _improve(bench, mask, start)
        if found is not None and (finished.shown is None or not policy.is_better(finished.shown, found)):
            finished = Finished(policy.is_aligned(found.estimate), "the mask that was found measures no worse", found)
        microscope.slm.show(before if finished.shown is None else finished.shown.levels)
        if finished.shown is None:
            bench.go_home()
    except BaseException:
        microscope.slm.show(before)
        bench.go_home()
        raise
    finally:
        microscope.close()
    yield finished


def _measure_found(bench: _Bench, levels: Levels) -> Generator[Event, None, Measured | None]:
    """The image under the mask that was found, or None where it shows no focus of this setup."""
    try:
        measured = yield from bench.measure(0, None, levels)
    except ImageError:
        return None
    yield measured
    return measured if measured.estimate.accepted else None


def _improve(bench: _Bench, mask: Callable[[Wavefront], Levels], start: Wavefront) -> Generator[Event, None, Finished]:
    """Correct until there is nothing left to gain; the best mask is the outcome's ``shown``."""
    policy = bench.policy
    best: Measured | None = None
    correction = start
    for number in range(policy.max_corrections + 1):
        try:
            measured = yield from bench.measure(number, correction, mask(correction))
        except ImageError as error:
            if best is None:
                raise AlignmentError(str(error)) from error
            return Finished(False, f"an image could not be used ({error}); the best mask is kept", best)
        kept = measured.estimate.accepted if best is None else policy.is_better(measured, best)
        measured = replace(measured, kept=kept)
        yield measured
        if not kept:
            if best is None:
                return Finished(False, measured.estimate.reason, None)
            near = policy.residual_waves(best.estimate) <= 2 * policy.target_waves
            return Finished(near, "the last correction did not measure better; the one before it is kept", best)
        best = measured
        if policy.is_aligned(best.estimate):
            return Finished(True, "what is left is below the target or below its own noise", best)
        if number < policy.max_corrections:
            bench.move_by(best.estimate.shift_nm)
            correction = policy.next_correction(correction, best.estimate)
    return Finished(False, f"stopped after {policy.max_corrections} corrections", best)


@dataclass(frozen=True)
class _Bench:
    """The microscope and the bead on it: takes centered images and keeps the stage near where it began."""

    microscope: Microscope
    estimator: Callable[[OrthoSections], Estimate]
    policy: Policy
    home: Position

    def measure(self, number: int, correction: Wavefront | None, levels: Levels) -> Generator[Event, None, Measured]:
        """Show a mask, center the bead, and estimate its image. Raises ``ImageError`` for one without use."""
        self.microscope.slm.show(levels)
        sections = yield from self.center()
        estimate = self.estimator(sections)
        likeness = correlation(sections.data, estimate.ideal)
        return Measured(number, correction, levels, sections, estimate, likeness)

    def center(self) -> Generator[Event, None, OrthoSections]:
        """Move the bead to the middle by its center of mass; the last image is the generator's return value."""
        sections = self.microscope.source.acquire()
        last = math.inf
        for _ in range(self.policy.max_center_moves):
            check_image(sections)
            displacement = displacement_nm(sections)
            distance = math.hypot(*displacement)
            if distance <= self.policy.center_within_nm:
                break
            if distance > 1.5 * last:
                raise AlignmentError(
                    f"centering runs away ({last:.0f} nm, then {distance:.0f} nm): check the stage's axes and signs"
                )
            last = distance
            self.move_by(displacement)
            yield Centered(displacement)
            sections = self.microscope.source.acquire()
        return sections

    def move_by(self, displacement: Position) -> None:
        """Follow the bead, unless it is as good as there or suspiciously far from where the stage began."""
        if math.hypot(*displacement) < self.policy.center_within_nm / 3:
            return
        stage, allowed = self.microscope.stage, self.policy.max_travel_nm
        x, y, z = (position + step for position, step in zip(stage.position_nm(), displacement, strict=True))
        travel = math.dist((x, y, z), self.home)
        if travel > allowed:
            raise AlignmentError(
                f"the bead seems to be {travel:.0f} nm from where it was, more than the {allowed:.0f} nm that "
                "the stage may follow it: bring a bead to the middle by hand"
            )
        try:
            stage.move_to_nm(x, y, z)
        except ValueError as error:
            raise AlignmentError(f"the bead cannot be centered: {error}") from error

    def go_home(self) -> None:
        # The stage came from there, so only a stage that drifted past its own limits refuses; then it stays.
        with suppress(ValueError):
            self.microscope.stage.move_to_nm(*self.home)
