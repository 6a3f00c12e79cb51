"""Aligning a microscope, and what is written of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from stedalign.alignment.bench import Bench
from stedalign.alignment.events import Centered, Event, Finished, Measured, Restored
from stedalign.alignment.model_based import align as model_based
from stedalign.alignment.policy import Policy
from stedalign.alignment.session import Session
from stedalign.config.setup import Setup
from stedalign.errors import JobError, check_type
from stedalign.files import replacing_all, write_json
from stedalign.instrument.protocols import Microscope
from stedalign.jobs.estimate import default_network, make_estimator
from stedalign.jobs.mask import correction_levels, save_masks
from stedalign.networks.network import Network
from stedalign.optics.wavefront import Wavefront
from stedalign.progress import Cancel, Progress, Tell
from stedalign.reports.alignment import draw_alignment


def new_run_folder(job: str) -> Path:
    """A folder under ``runs``, named after job and time; it is made when something is written there."""
    return Path("runs") / f"{job}-{datetime.now():%Y%m%d-%H%M%S-%f}"[:-3]


@dataclass(frozen=True, eq=False)
class Alignment:
    """How an alignment went."""

    before: Measured
    after: Measured
    finished: Finished
    corrections: int
    simulated: bool
    restored: Restored
    """How the microscope was left; a step may have failed although the alignment did not."""
    run_folder: Path
    mask: Path
    picture: Path
    truth_before: Wavefront | None = None
    """The simulator's residual before and after; None on a real instrument."""
    truth_after: Wavefront | None = None

    def to_json(self) -> dict[str, Any]:
        rms_before = (self.truth_before or self.before.estimate.wavefront).rms_waves
        rms_after = (self.truth_after or self.after.estimate.wavefront).rms_waves
        return {
            "simulated": self.simulated,
            "converged": self.finished.converged,
            "reason": self.finished.reason,
            "iterations": self.corrections,
            "rms_before_waves": rms_before,
            "rms_after_waves": rms_after,
            "estimated_rms_before_waves": self.before.estimate.rms_waves,
            "estimated_rms_after_waves": self.after.estimate.rms_waves,
            "null_ratio_before": self.before.estimate.null_ratio,
            "null_ratio_after": self.after.estimate.null_ratio,
            "correlation_before": self.before.correlation,
            "correlation_after": self.after.correlation,
            "restored": self.restored.complete,
            "microscope_left": str(self.restored),
            "run_folder": str(self.run_folder),
            "mask": str(self.mask),
            "picture": str(self.picture),
        }


class NotAligned(JobError):
    """The loop ended without one usable image, with the reason."""


def align(
    microscope: Microscope,
    setup: Setup,
    run_folder: Path | str | None = None,
    *,
    policy: Policy | None = None,
    network: Network | Literal["packaged"] | None = "packaged",
    start: Wavefront | None = None,
    watch: Callable[[Event], None] = lambda event: None,
    progress: Tell | None = None,
    cancel: Cancel | None = None,
    **facts: Any,
) -> Alignment:
    """Align a microscope, writing log, images, mask and result into ``run_folder``, which must be empty.

    ``network`` None starts every fit from zero alone. ``watch`` is called with each event as it happens; ``facts`` (a
    seed, say) are noted in the folder. At the end the shutter is closed and the best mask shown; whatever ends it
    early brings back the mask and the stage's position from before, and carries a note that says whether that worked.
    Where a good alignment leaves a shutter open, say, the result and a warning tell. The microscope stays open, and can
    be aligned again. ``cancel``, once set, ends the run at its next event.

    Raises ``Cancelled`` then, ``AlignmentError`` or ``NotAligned`` where no image was usable, ``DeviceError`` where the
    microscope failed. Mask, picture and result are all written, or none of them.
    """
    check_type("sa.align", microscope, Microscope)
    check_type("sa.align", setup, Setup)
    folder = Path(run_folder) if run_folder is not None else new_run_folder("align")
    policy, start = policy or Policy(), start or Wavefront.zero(setup.modes)
    start.check_range()
    if network == "packaged":
        network = default_network(setup)
    facts |= {
        "policy": policy.model_dump(),
        "microscope": microscope.name,
        "network": network.training if network is not None else None,
    }
    session = Session.start(folder, setup.to_toml(), **facts)
    bench = Bench(microscope, make_estimator(setup, network), policy)
    strategy = model_based(bench, lambda correction: correction_levels(setup, correction), start)
    try:
        finished = session.run(bench, strategy, _interruptible(watch, Progress(progress, cancel)))
        result = _result(setup, session, bench, finished)
    except BaseException as error:
        bench.note_on(error)
        raise
    if not result.restored.complete:
        warnings.warn(f"the microscope is not as it should be: {result.restored}", stacklevel=2)
    return result


def _interruptible(watch: Callable[[Event], None], steps: Progress) -> Callable[[Event], None]:
    """``watch``, and after it a step, at which the run can be canceled while the microscope is still held."""

    def tell(event: Event) -> None:
        watch(event)
        if isinstance(event, Centered):
            steps("centering the bead")
        elif isinstance(event, Measured):
            steps(f"correction {event.number} measured")

    return tell


def _result(setup: Setup, session: Session, bench: Bench, finished: Finished) -> Alignment:
    """The result of a run, with mask, image and JSON written; raises ``NotAligned`` where there is none."""
    before, after = session.before, finished.shown
    if before is None or after is None:
        raise NotAligned(finished.reason)
    folder, microscope = session.folder, bench.microscope
    tried = "1 correction" if session.corrections == 1 else f"{session.corrections} corrections"
    result = Alignment(
        before,
        after,
        finished,
        session.corrections,
        microscope.simulated or after.estimate.simulated,
        bench.restored,
        folder,
        folder / "mask.bmp",
        folder / "alignment.png",
        truth_before=_true_residual(microscope, before),
        truth_after=_true_residual(microscope, after),
    )
    with replacing_all(folder) as staging:
        save_masks(setup, after.levels, after.correction, staging)
        draw_alignment(staging / result.picture.name, before, after, f"{microscope.name}: {tried}, {finished.reason}")
        write_json(staging / "result.json", result.to_json())
    return result


def _true_residual(microscope: Microscope, measured: Measured) -> Wavefront | None:
    """None on a real instrument, and under a mask whose correction nobody knows."""
    if microscope.truth is None or measured.correction is None:
        return None
    return microscope.truth.residual(measured.correction)
