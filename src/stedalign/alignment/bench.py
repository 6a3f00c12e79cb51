"""The bench: one microscope for one run, and the one place that brings back what was there before."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import Literal, Self

from stedalign.alignment.events import Centered, Event, Measured, Restored, RestoreStep
from stedalign.alignment.policy import Policy
from stedalign.errors import JobError
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.checks import check_image
from stedalign.estimation.estimate import Estimate
from stedalign.imaging.images import OrthoSections
from stedalign.imaging.metrics import correlation
from stedalign.instrument.device_errors import device, one_line
from stedalign.instrument.protocols import Levels, Microscope, Position
from stedalign.optics.wavefront import Wavefront

WayBack = tuple[Literal["shutter", "mask", "stage"], str, str, Callable[[], None]]
"""A device, what is so when the step has worked, what could not be done when it has not, and the step."""


class AlignmentError(JobError):
    """The run cannot go on, with the reason; its note (``__notes__``) says how the microscope was left."""


class Bench:
    """A context manager that opens the shutter, offers what a strategy needs, and restores the microscope at the end.

    On every exit it closes the shutter, then shows the mask from before, then moves the stage back; a step that fails
    does not keep the others from being taken. Where the block ends by itself after ``keep``, that mask is shown in the
    place of the one from before and the stage stays. An exception goes on as it is, with a note that says which steps
    worked; ``restored`` says it in any case. The microscope stays open.

    Every verb raises ``DeviceError`` where a part of the microscope fails.
    """

    def __init__(self, microscope: Microscope, estimator: Callable[[OrthoSections], Estimate], policy: Policy) -> None:
        self.microscope = microscope
        self.estimator = estimator
        self.policy = policy
        self.restored = Restored()
        """How the microscope was left."""
        self.levels_before: Levels
        """The mask that was shown on entering."""
        self._home: Position
        self._kept: Levels | None = None

    def __enter__(self) -> Self:
        with device("the stage"):
            self._home = self.microscope.stage.position_nm()
        with device("the SLM"):
            self.levels_before = self.microscope.slm.shown()
        try:
            if self.microscope.shutter is not None:
                with device("the shutter"):
                    self.microscope.shutter.open()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._leave(error)

    def keep(self, levels: Levels) -> None:
        """Leave these levels on the panel, and the stage where it is, if the block ends by itself."""
        self._kept = levels

    def note_on(self, error: BaseException) -> None:
        """Add to an exception, once, how the microscope was left."""
        note = str(self.restored)
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)

    def show(self, levels: Levels) -> None:
        """Put gray levels (rows, columns) on the panel."""
        with device("the SLM"):
            self.microscope.slm.show(levels)

    def acquire(self) -> OrthoSections:
        """One image. Raises ``ImageError`` for one that is empty, saturated or otherwise without use."""
        with device("the image source"):
            sections = self.microscope.source.acquire()
        check_image(sections)
        return sections

    def measure(self, number: int, correction: Wavefront | None, levels: Levels) -> Generator[Event, None, Measured]:
        """Show a mask, center the bead, and estimate its image. Raises ``ImageError`` for one without use."""
        self.show(levels)
        sections = yield from self.center()
        estimate = self.estimator(sections)
        likeness = correlation(sections.data, estimate.ideal)
        return Measured(number, correction, levels, sections, estimate, likeness)

    def center(self) -> Generator[Event, None, OrthoSections]:
        """Move the bead to the middle by its center of mass; the last image is the generator's return value."""
        sections = self.acquire()
        last = math.inf
        for _ in range(self.policy.max_center_moves):
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
            sections = self.acquire()
        return sections

    def move_by(self, displacement: Position) -> None:
        """Follow the bead, unless it is as good as there or suspiciously far from where the stage began."""
        if math.hypot(*displacement) < self.policy.center_within_nm / 3:
            return
        stage, allowed = self.microscope.stage, self.policy.max_travel_nm
        with device("the stage"):
            position = stage.position_nm()
        x, y, z = (start + step for start, step in zip(position, displacement, strict=True))
        travel = math.dist((x, y, z), self._home)
        if travel > allowed:
            raise AlignmentError(
                f"the bead seems to be {travel:.0f} nm from where it was, more than the {allowed:.0f} nm that "
                "the stage may follow it: bring a bead to the middle by hand"
            )
        with device("the stage"):
            try:
                stage.move_to_nm(x, y, z)
            except ValueError as error:
                raise AlignmentError(f"the bead cannot be centered: {error}") from error

    def _leave(self, error: BaseException | None) -> None:
        """Take every step back; raises only what is no failure, such as Ctrl-C, and only after the last step."""
        steps, interrupt = [], None
        for name, done, undone, step in self._way_back(ended_by_itself=error is None):
            try:
                step()
            except BaseException as failure:
                steps.append(RestoreStep(name, undone, one_line(failure)))
                if not isinstance(failure, Exception):
                    interrupt = failure
            else:
                steps.append(RestoreStep(name, done))
        self.restored = Restored(tuple(steps))
        if error is not None:
            self.note_on(error)
        elif interrupt is not None:
            self.note_on(interrupt)
            raise interrupt

    def _way_back(self, *, ended_by_itself: bool) -> Iterator[WayBack]:
        shutter, slm, stage = self.microscope.shutter, self.microscope.slm, self.microscope.stage
        if shutter is not None:
            yield "shutter", "the shutter is closed", "the shutter could not be closed", shutter.close
        kept = self._kept
        if ended_by_itself and kept is not None:
            yield "mask", "the best mask is shown", "the best mask could not be shown", lambda: slm.show(kept)
            return
        before = "the mask from before"
        yield "mask", f"{before} is shown", f"{before} could not be shown", lambda: slm.show(self.levels_before)
        back = "the stage is back where it was", "the stage could not be moved back"
        yield "stage", *back, lambda: stage.move_to_nm(*self._home)
