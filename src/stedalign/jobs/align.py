"""Aligning a microscope, and what is written of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from stedalign.alignment.model_based import Event, Finished, Measured
from stedalign.alignment.model_based import align as alignment_events
from stedalign.alignment.policy import Policy
from stedalign.alignment.session import Session
from stedalign.config.setup import Setup
from stedalign.errors import JobError, check_type
from stedalign.files import write_json
from stedalign.instrument.protocols import Microscope
from stedalign.jobs.estimate import default_network, make_estimator
from stedalign.jobs.mask import correction_levels, save_masks
from stedalign.networks.network import Network
from stedalign.optics.wavefront import Wavefront
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
    run_folder: Path
    mask: Path
    image: Path
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
            "run_folder": str(self.run_folder),
            "mask": str(self.mask),
            "image": str(self.image),
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
    **facts: Any,
) -> Alignment:
    """Align a microscope, writing log, images, mask and result into ``run_folder``, which must be empty.

    ``network`` None starts every fit from zero alone. ``watch`` is called with each event as it happens; ``facts`` (a
    seed, say) are noted in the folder. Raises ``AlignmentError`` or ``NotAligned`` where no image was usable; the SLM
    then shows what it showed before. The microscope is closed in any case.
    """
    check_type("sa.align", microscope, Microscope)
    check_type("sa.align", setup, Setup)
    folder = Path(run_folder) if run_folder is not None else new_run_folder("align")
    policy = policy or Policy()
    try:
        if network == "packaged":
            network = default_network(setup)
        facts |= {
            "policy": policy.model_dump(),
            "microscope": microscope.name,
            "network": network.training if network is not None else None,
        }
        session = Session.start(folder, setup.to_toml(), **facts)
        events = alignment_events(
            microscope,
            make_estimator(setup, network),
            lambda correction: correction_levels(setup, correction),
            start or Wavefront.zero(setup.modes),
            policy,
        )
        with closing(session.record(events)) as recorded:
            for event in recorded:
                watch(event)
    finally:
        microscope.close()
    finished = session.finished
    if finished is None or finished.shown is None or session.before is None:
        raise NotAligned(finished.reason if finished else "the loop ended early")
    after = finished.shown
    mask = save_masks(setup, after.levels, after.correction, folder)
    tried = "1 correction" if session.corrections == 1 else f"{session.corrections} corrections"
    title = f"{microscope.name}: {tried}, {finished.reason}"
    draw_alignment(folder / "alignment.png", session.before, after, title)
    truth = microscope.truth
    truths = [
        truth.residual(measured.correction) if truth is not None and measured.correction is not None else None
        for measured in (session.before, after)
    ]
    result = Alignment(
        session.before,
        after,
        finished,
        session.corrections,
        microscope.simulated or after.estimate.simulated,
        folder,
        mask,
        folder / "alignment.png",
        truth_before=truths[0],
        truth_after=truths[1],
    )
    write_json(folder / "result.json", result.to_json())
    return result
