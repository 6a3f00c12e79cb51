"""Estimating one image, and what is written of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from stedalign.alignment.session import Session
from stedalign.config.setup import Setup
from stedalign.errors import InputError, check_type
from stedalign.estimation.centering import centering_wavefront
from stedalign.estimation.diagnosis import Remark, diagnose
from stedalign.estimation.estimate import Estimate
from stedalign.estimation.estimator import Estimator
from stedalign.files import replacing_all, write_json
from stedalign.formats.selection import EVERYTHING, Selection
from stedalign.formats.stack import CheckPixels, Loaded, read_sections, read_stack
from stedalign.imaging.images import Image, PixelSize
from stedalign.jobs.differences import differences
from stedalign.jobs.mask import correction_levels, save_masks
from stedalign.networks.checkpoint import OtherSetupError, load_network, packaged_weights
from stedalign.networks.network import Network
from stedalign.optics.resolution import check_pixels_show
from stedalign.progress import SILENT, Cancel, Progress, Tell
from stedalign.reports.alignment import draw_estimate

DEFAULT_NETWORK = "bandnet"


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
        detector=setup.detector,
        limits=setup.limits,
    )


@dataclass(frozen=True, eq=False)
class SavedEstimate:
    """An estimate and what was written of it."""

    estimate: Estimate
    run_folder: Path
    mask: Path | None
    """The correcting mask; None where the estimate was refused, or strictly is."""
    diagnosis: tuple[Remark, ...] = ()
    """What beside the wavefront is off, the surest first."""
    notes: tuple[str, ...] = ()
    """In what the file and the setup differ."""

    def to_json(self) -> dict[str, Any]:
        mask = None if self.mask is None else str(self.mask)
        remarks = [remark.to_json() for remark in self.diagnosis]
        facts = {"diagnosis": remarks, "mask": mask, "run_folder": str(self.run_folder), "notes": self.notes}
        return self.estimate.to_json() | facts


def estimate(
    sections: Image,
    setup: Setup,
    *,
    network: Network | Literal["packaged"] | None = "packaged",
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> Estimate:
    """Estimate the wavefront in one image, starting the fit from what the network says (None: from zero).

    Sections, a ``Volume``, or a ``FocalSection`` alone, which tells less (see ``Estimator``). Raises
    ``ImageError`` for a saturated or an empty image.
    """
    check_type("sa.estimate", sections, Image)
    check_type("sa.estimate", setup, Setup)
    return _estimate(sections, setup, network, Progress(progress, cancel))


def estimate_file(
    file: Path | str,
    setup: Setup,
    run_folder: Path | str,
    *,
    pixel_nm: PixelSize | None = None,
    selection: Selection = EVERYTHING,
    whole_volume: bool = False,
    strict: bool = False,
    network: Network | Literal["packaged"] | None = "packaged",
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> SavedEstimate:
    """Estimate the image in a file, and write estimate and mask into ``run_folder``, which must be empty.

    Of a volume three sections through its bead are taken, or the ``whole_volume`` around it. ``pixel_nm`` (x, y, z) is
    for files that do not tell, ``selection`` for those that hold more than one image. A refused estimate is written as
    well, without a mask; where it is to be ``strict``, so is one with model error. Raises ``StackError`` for a file
    without a usable image, ``InputError`` for pixels that show nothing of a focus, ``ImageError`` for a saturated or an
    empty image.
    """
    steps = Progress(progress, cancel)
    steps(f"reading {file}")
    samples = setup.sampling.samples
    check = shows_focus(setup)
    loaded = read_stack(file, pixel_nm=pixel_nm, selection=selection, samples=samples, whole=whole_volume, check=check)
    return _estimate_loaded(loaded, setup, run_folder, strict, network, steps)


def estimate_section_files(
    files: Mapping[str, Path | str],
    setup: Setup,
    run_folder: Path | str,
    *,
    pixel_nm: PixelSize | None = None,
    selection: Selection = EVERYTHING,
    strict: bool = False,
    network: Network | Literal["packaged"] | None = "packaged",
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> SavedEstimate:
    """The same of sections "xy", "xz" or "yz" of one bead, each in a file or a stack of its own ("FILE::NAME")."""
    steps = Progress(progress, cancel)
    steps(f"reading {', '.join(map(str, files.values()))}")
    loaded = read_sections(files, pixel_nm=pixel_nm, selection=selection, check=shows_focus(setup))
    return _estimate_loaded(loaded, setup, run_folder, strict, network, steps)


def _estimate_loaded(
    loaded: Loaded[Image],
    setup: Setup,
    run_folder: Path | str,
    strict: bool,
    network: Network | Literal["packaged"] | None,
    progress: Progress,
) -> SavedEstimate:
    estimate = _estimate(loaded.image, setup, network, progress)
    notes = tuple(differences(loaded.facts, setup))
    return save_estimate(setup, loaded.image, estimate, Path(run_folder), progress, strict=strict, notes=notes)


def shows_focus(setup: Setup) -> CheckPixels:
    """Tells pixels that are too wide for the setup's light, before a bead is looked for in them."""
    return partial(check_pixels_show, setup.objective, setup.depletion.wavelength_nm)


def check_shows_focus(image: Image, setup: Setup) -> None:
    """Raise ``InputError`` for an image whose pixels are too wide for the setup's light."""
    for part in image.view.parts:
        shows_focus(setup)(image.view.pixel_of(part))


def _estimate(
    sections: Image, setup: Setup, network: Network | Literal["packaged"] | None, progress: Progress
) -> Estimate:
    check_shows_focus(sections, setup)
    progress("estimating")
    return make_estimator(setup, default_network(setup) if network == "packaged" else network)(sections)


def diagnosed(setup: Setup, estimate: Estimate) -> tuple[Remark, ...]:
    """What beside the wavefront is off; nothing where the estimate was refused, which tells nothing."""
    if not estimate.accepted:
        return ()
    slm = setup.slm
    columns, rows = (slm.pupil_radius_px * (-1 if flipped else 1) for flipped in (slm.flip_x, slm.flip_y))
    return diagnose(estimate.nuisances, setup.depletion, setup.detection, (columns, rows))


def save_estimate(
    setup: Setup,
    sections: Image,
    estimate: Estimate,
    folder: Path,
    progress: Progress = SILENT,
    *,
    strict: bool = False,
    notes: tuple[str, ...] = (),
) -> SavedEstimate:
    """Write ``estimate.json``, ``estimate.png`` and, where nothing speaks against it, the correcting mask.

    The JSON also tells the tip, tilt and defocus that would bring the focus to the middle, which the mask leaves to the
    stage. All of the files are there in the end, or none. Raises ``InputError`` where the folder already holds
    something.
    """
    progress(f"writing {folder}")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; choose another folder")
    usable = not estimate.objection(strict=strict)
    remarks = diagnosed(setup, estimate)
    saved = SavedEstimate(estimate, folder, folder / "mask.bmp" if usable else None, remarks, notes)
    centering = centering_wavefront(estimate.shift_nm, setup.objective, setup.depletion.wavelength_nm)
    facts = {"wavelength_nm": setup.depletion.wavelength_nm, "centering": centering.to_json()}
    with replacing_all(folder) as staging:
        Session.start(staging, setup.to_toml())
        if usable:
            save_masks(setup, correction_levels(setup, estimate.correction), estimate.correction, staging)
        title = "SIMULATED bead" if estimate.simulated else "bead"
        draw_estimate(staging / "estimate.png", sections, estimate, title, remarks)
        write_json(staging / "estimate.json", saved.to_json() | facts)
    return saved
