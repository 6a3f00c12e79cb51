"""The Python surface: one function per job, each handed a whole setup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from stedalign.alignment.model_based import Event, Finished, Measured
from stedalign.alignment.model_based import align as alignment_events
from stedalign.alignment.policy import Policy
from stedalign.alignment.session import Session
from stedalign.config.setup import Setup
from stedalign.estimation.acquisition import Bounds, Progress, acquisition_bounds
from stedalign.estimation.centering import centering_wavefront
from stedalign.estimation.estimate import Estimate
from stedalign.estimation.estimator import Estimator
from stedalign.files import write_json
from stedalign.focusing.focus import Focus
from stedalign.imaging.detector import Detector
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Image, OrthoSections
from stedalign.instrument.mask_files import write_mask
from stedalign.instrument.protocols import Levels, Microscope
from stedalign.instrument.slm_mask import mask_levels
from stedalign.networks.checkpoint import OtherSetupError, load_network, packaged_weights
from stedalign.networks.network import Network
from stedalign.optics.fluorophore import watts_per_cm2
from stedalign.optics.targets import Target
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.reports.alignment import draw_alignment, draw_estimate
from stedalign.simulator.microscope import SimulatedMicroscope

DEFAULT_NETWORK = "bandnet"


def focus(setup: Setup, wavefront: Wavefront, *, tolerance: float = 1e-5) -> OrthoSections:
    """Intensity of the depletion focus in three sections, relative to the crest without aberrations.

    No bead, no noise, no background; the relative L2 error stays below ``tolerance``. Raises ``ValueError`` where the
    sections are too wide for it.
    """
    planes = _intensity(_section_plan(setup.forward, wavefront.modes, tolerance, _strength(wavefront)), wavefront)
    samples = setup.sampling.samples
    return OrthoSections(np.stack(planes).reshape(3, samples, samples), setup.sampling.pixel_nm)


def focus_on(setup: Setup, wavefront: Wavefront, target: Target, *, tolerance: float = 1e-5) -> NDArray[np.float64]:
    """The same intensity on any target of ``stedalign.optics.targets``: a plane, a line, a volume, points.

    Shaped like the target; points give (P,). A volume [z, y, x] is ``section("zyx", samples, pixel_nm)``.
    """
    strength = _strength(wavefront)
    plan = Focus(
        setup.objective, setup.depletion, wavefront.modes, [target], tolerance=tolerance, strength_waves=strength
    ).double()
    # Every plan is relative to its own brightest pixel, which may lie far from the crest.
    crest = _section_plan(setup.forward, wavefront.modes, tolerance, strength)
    (values,) = _intensity(plan, wavefront)
    return values.reshape(target.shape) * float(crest.scale / plan.scale)


def _strength(wavefront: Wavefront) -> float:
    return round(max(0.2, 1.25 * wavefront.rms_waves), 1)


def _intensity(plan: Focus, wavefront: Wavefront) -> list[NDArray[np.float64]]:
    parameters = plan.rest.clone()
    parameters[: len(wavefront.modes)] = torch.from_numpy(wavefront.array)
    with torch.no_grad():
        return [values[0].numpy() for values in plan(parameters[None])]


@lru_cache(maxsize=8)
def _section_plan(forward: ForwardSpec, modes: ModeSet, tolerance: float, strength_waves: float) -> Focus:
    return Focus(
        forward.objective,
        forward.beam,
        modes,
        forward.sampling.targets(),
        tolerance=tolerance,
        strength_waves=strength_waves,
    ).double()


def effective_spot(setup: Setup, wavefront: Wavefront) -> OrthoSections:
    """What fluoresces in three sections: the excitation spot, times what a depletion beam with ``wavefront`` leaves.

    Relative to the unquenched excitation's maximum; powers, pulses and saturation intensity come from the setup. The
    excitation is unaberrated. No bead, no detection.
    """
    zero = Wavefront.zero(wavefront.modes)
    spot = focus(setup.model_copy(update={"depletion": setup.excitation}), zero, tolerance=1e-4)
    # Where the depletion is a hundred times the saturation intensity, so is the error of what it leaves.
    plan = _section_plan(setup.forward, wavefront.modes, 1e-6, _strength(wavefront))
    law = setup.fluorophore.law
    crest = watts_per_cm2(plan.pupil.power, setup.objective, setup.depletion, law) / float(plan.scale)
    depletion = np.stack(_intensity(plan, wavefront)).reshape(spot.data.shape)
    left = spot.data / spot.data.max() * setup.fluorophore.remaining(depletion * crest)
    return OrthoSections(left, setup.sampling.pixel_nm)


def default_network(setup: Setup) -> Network | None:
    """The network that came with the package, or None where it was trained for another setup.

    Raises ``CheckpointError`` where its file is missing or damaged.
    """
    try:
        return load_network(packaged_weights(DEFAULT_NETWORK), setup.forward, setup.modes)
    except OtherSetupError:
        return None


def make_estimator(setup: Setup, network: Network | None) -> Estimator:
    """An estimator for images of ``setup``."""
    return Estimator(
        setup.forward,
        setup.modes,
        nuisances=setup.nuisances,
        network=network,
        read_noise=setup.detector.read_noise,
        saturation=setup.detector.saturation,
        limits=setup.limits,
    )


def estimate(sections: Image, setup: Setup) -> Estimate:
    """Estimate the wavefront in one image, starting the fit from what the packaged network says.

    Three sections, a ``Volume``, or a ``FocalSection`` alone, which tells less (see ``Estimator``). Raises
    ``ImageError`` for a saturated or an empty image.
    """
    return make_estimator(setup, default_network(setup))(sections)


def bound(
    setup: Setup,
    wavefront: Wavefront | Sequence[Wavefront] | None = None,
    photons: float | None = None,
    background: float | None = None,
    *,
    volume: bool = True,
    progress: Progress = lambda step: None,
) -> Bounds:
    """How well each mode can be told from the xy section, from the three sections, and from a volume of their size.

    The Cramér-Rao bound (Kay 1993, section 3.7) of Poisson counts with the setup's read noise (Snyder et al. 1995), at
    one wavefront or, as the root mean square, over several; None = unaberrated. ``photons`` are the counts that the
    crest of the unaberrated focus gives each pixel, in every kind of image alike, and ``background`` is a fraction of
    them; the setup's without them. The result holds arrays (modes,) in rms waves, for a known instrument and for one
    known only as well as the setup's ``nuisances`` say; in a volume, which is one exposure, no section drifts. A mode
    that is not seen at all comes out as 1 wave. ``progress`` is told each step. Raises ``ValueError`` for values out of
    range, for a wavefront with other modes than the setup's, and for a volume that is too large to compute.
    """
    asked = {"photons": photons, "background": background}
    given = {name: value for name, value in asked.items() if value is not None}
    detector = Detector.parse(setup.detector.model_dump() | given)
    if wavefront is None:
        wavefront = Wavefront.zero(setup.modes)
    several = [wavefront] if isinstance(wavefront, Wavefront) else wavefront
    return acquisition_bounds(
        setup.forward,
        [one.on(setup.modes) for one in several],
        detector,
        setup.nuisances,
        volume=volume,
        progress=progress,
    )


def correction_levels(setup: Setup, correction: Wavefront) -> Levels:
    """Gray levels (rows, columns) of the depletion beam's pattern with a correction added."""
    return mask_levels(setup.slm, setup.depletion.pattern, correction)


def save_mask(setup: Setup, levels: Levels, correction: Wavefront | None, path: Path) -> Path:
    """Write gray levels as ``path`` (BMP or PNG) with a JSON side-car that tells the correction; returns ``path``."""
    write_mask(
        path,
        levels,
        correction=correction,
        wavelength_nm=setup.depletion.wavelength_nm,
        levels_per_2pi=setup.slm.levels_per_2pi,
    )
    return path


def save_masks(setup: Setup, levels: Levels, correction: Wavefront | None, folder: Path) -> Path:
    """Write ``mask.bmp`` for the SLM's software and ``mask.png`` for people, with one side-car; returns the BMP."""
    save_mask(setup, levels, correction, folder / "mask.png")
    return save_mask(setup, levels, correction, folder / "mask.bmp")


def save_estimate(setup: Setup, sections: Image, found: Estimate, folder: Path) -> Path | None:
    """Write ``estimate.json``, ``estimate.png`` and, where the estimate was accepted, the correcting mask.

    The JSON also tells the tip, tilt and defocus that would bring the focus to the middle, which the mask leaves to the
    stage. Returns the mask's path. Raises ``FileExistsError`` where the folder already holds something.
    """
    session = Session.start(folder, setup.to_toml())
    correction = found.correction
    mask = save_masks(setup, correction_levels(setup, correction), correction, folder) if found.accepted else None
    title = "SIMULATED bead" if found.simulated else "bead"
    draw_estimate(folder / "estimate.png", sections, found, title)
    centering = centering_wavefront(found.shift_nm, setup.objective, setup.depletion.wavelength_nm)
    facts = {
        "wavelength_nm": setup.depletion.wavelength_nm,
        "centering": centering.to_json(),
        "mask": str(mask) if mask else None,
    }
    write_json(session.folder / "estimate.json", found.to_json() | facts)
    return mask


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


class NotAligned(RuntimeError):
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
    world = microscope.world if isinstance(microscope, SimulatedMicroscope) else None
    truths = [
        world.residual(measured.correction) if world is not None and measured.correction is not None else None
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
