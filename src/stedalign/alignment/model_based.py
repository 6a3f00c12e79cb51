"""The strategy that estimates: image, estimate, correction, again, with the better mask always kept."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np

from stedalign.alignment.bench import AlignmentError, Bench
from stedalign.alignment.events import Event, Finished, Measured
from stedalign.estimation.checks import ImageError
from stedalign.instrument.protocols import Levels
from stedalign.optics.wavefront import Wavefront


def align(bench: Bench, mask: Callable[[Wavefront], Levels], start: Wavefront) -> Generator[Event, None, Finished]:
    """Align on an entered bench, yielding what happens as it happens; the outcome is the generator's return value.

    ``mask`` turns a correction into gray levels. A mask found on the SLM that is not the one to start from competes:
    where the best new one does not measure better, it is kept. Raises ``AlignmentError`` where no image can be used.
    """
    policy = bench.policy
    previous = None
    if not np.array_equal(bench.levels_before, mask(start)):
        previous = yield from _measure_previous(bench)
    finished = yield from _improve(bench, mask, start)
    if previous is not None and (finished.shown is None or not policy.is_better(finished.shown, previous)):
        finished = Finished(policy.is_aligned(previous.estimate), "the mask that was found measures no worse", previous)
    if finished.shown is not None:
        bench.keep(finished.shown.levels)
    return finished


def _measure_previous(bench: Bench) -> Generator[Event, None, Measured | None]:
    """The image under the mask that was found, or None where it shows no focus of this setup."""
    try:
        measured = yield from bench.measure(0, None, bench.levels_before)
    except ImageError:
        return None
    yield measured
    return measured if bench.policy.accepts(measured.estimate) else None


def _improve(bench: Bench, mask: Callable[[Wavefront], Levels], start: Wavefront) -> Generator[Event, None, Finished]:
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
        kept = policy.accepts(measured.estimate) if best is None else policy.is_better(measured, best)
        measured = replace(measured, kept=kept)
        yield measured
        if not kept:
            if best is None:
                return Finished(False, measured.estimate.objection(strict=policy.strict), None)
            near = policy.residual_waves(best.estimate) <= 2 * policy.target_waves
            return Finished(near, "the last correction did not measure better; the one before it is kept", best)
        best = measured
        if policy.is_aligned(best.estimate):
            return Finished(True, "what is left is below the target or below its own noise", best)
        if number < policy.max_corrections:
            bench.move_by(best.estimate.shift_nm)
            correction = policy.next_correction(correction, best.estimate)
    return Finished(False, f"stopped after {policy.max_corrections} corrections", best)
