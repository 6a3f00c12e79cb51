"""Estimating the images of one bead by both beams, and what is written of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stedalign.alignment.session import Session
from stedalign.config.setup import Setup
from stedalign.errors import InputError, check_type
from stedalign.estimation.diagnosis import Remark
from stedalign.estimation.estimate import Estimate
from stedalign.estimation.two_beams import TwoBeamEstimate, estimate_two_beams
from stedalign.files import replacing_all, write_json
from stedalign.formats.stack import read_both_beams
from stedalign.imaging.images import Image, PixelSize
from stedalign.jobs.differences import differences
from stedalign.jobs.estimate import check_shows_focus, default_network, diagnosed, make_estimator, shows_focus
from stedalign.jobs.mask import correction_levels, save_mask, save_masks
from stedalign.networks.network import Network
from stedalign.progress import SILENT, Cancel, Progress, Tell
from stedalign.reports.alignment import draw_estimate


@dataclass(frozen=True, eq=False)
class SavedTwoBeams:
    """The estimate of both beams and what was written of it."""

    both: TwoBeamEstimate
    run_folder: Path
    mask: Path | None
    """Corrects the depletion beam; None where one of the two was refused, or strictly is."""
    overlaid_mask: Path | None
    """The same, which also brings the zero to the spot."""
    diagnosis: dict[str, tuple[Remark, ...]]
    """What beside the wavefront is off, of each beam."""
    notes: tuple[str, ...] = ()
    """In what the files and the setup differ."""

    def objection(self, *, strict: bool = False) -> str:
        """Why the estimate of either beam is not to be used, and which; empty where both are."""
        return _objection(self.both, strict=strict)

    def to_json(self) -> dict[str, Any]:
        files = {"mask": self.mask, "overlaid_mask": self.overlaid_mask}
        named = {name: None if path is None else str(path) for name, path in files.items()}
        remarks = {name: [remark.to_json() for remark in each] for name, each in self.diagnosis.items()}
        plain = self.both.to_json()
        plain["excitation"]["diagnosis"] = remarks["excitation"]
        facts = {"diagnosis": remarks["depletion"], "run_folder": str(self.run_folder), "notes": self.notes}
        return plain | named | facts


def estimate_both_beams(
    depletion: Image,
    excitation: Image,
    setup: Setup,
    *,
    network: Network | Literal["packaged"] | None = "packaged",
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> TwoBeamEstimate:
    """Estimate the wavefronts of both beams, and how the spot lies to the zero, from their images of one scan.

    Raises ``InputError`` for images that show other sections or pixels, ``ImageError`` for a saturated or an empty one.
    """
    check_type("sa.estimate_both_beams", depletion, Image)
    check_type("sa.estimate_both_beams", excitation, Image)
    check_type("sa.estimate_both_beams", setup, Setup)
    return _estimate(depletion, excitation, setup, network, Progress(progress, cancel))


def estimate_files_of_both_beams(
    depletion: Mapping[str, Path | str],
    excitation: Mapping[str, Path | str],
    setup: Setup,
    run_folder: Path | str,
    *,
    pixel_nm: PixelSize | None = None,
    strict: bool = False,
    network: Network | Literal["packaged"] | None = "packaged",
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> SavedTwoBeams:
    """The same of sections "xy", "xz" or "yz" in files of their own ("FILE::NAME"), written into a new run folder.

    Raises ``StackError`` for files without usable images and what ``estimate_both_beams`` raises.
    """
    steps = Progress(progress, cancel)
    steps(f"reading {', '.join(map(str, [*depletion.values(), *excitation.values()]))}")
    loaded, other = read_both_beams(depletion, excitation, pixel_nm=pixel_nm, check=shows_focus(setup))
    estimates = _estimate(loaded.image, other, setup, network, steps)
    notes = tuple(differences(loaded.facts, setup))
    return _save(setup, loaded.image, other, estimates, Path(run_folder), steps, strict=strict, notes=notes)


def _estimate(
    depletion: Image,
    excitation: Image,
    setup: Setup,
    network: Network | Literal["packaged"] | None,
    progress: Progress,
) -> TwoBeamEstimate:
    check_shows_focus(depletion, setup)
    progress("estimating both beams")
    first = make_estimator(setup, default_network(setup) if network == "packaged" else network)
    second = make_estimator(setup.model_copy(update={"depletion": setup.excitation}), None)
    return estimate_two_beams(first, second, (depletion, excitation))


def _save(
    setup: Setup,
    depletion: Image,
    excitation: Image,
    both: TwoBeamEstimate,
    folder: Path,
    progress: Progress = SILENT,
    *,
    strict: bool,
    notes: tuple[str, ...],
) -> SavedTwoBeams:
    """Write estimate and pictures of both beams and, where nothing speaks against it, the masks: all of it, or none."""
    progress(f"writing {folder}")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; choose another folder")
    usable = both.overlay is not None and not _objection(both, strict=strict)
    mask, overlaid_mask = (folder / "mask.bmp", folder / "overlaid.bmp") if usable else (None, None)
    remarks = _diagnosed(setup, both)
    saved = SavedTwoBeams(both, folder, mask, overlaid_mask, remarks, notes)
    facts = {"wavelength_nm": setup.depletion.wavelength_nm, "excitation_wavelength_nm": setup.excitation.wavelength_nm}
    with replacing_all(folder) as staging:
        Session.start(staging, setup.to_toml())
        if usable and both.overlay is not None:
            correction = both.depletion.correction
            save_masks(setup, correction_levels(setup, correction), correction, staging)
            overlaid = correction + both.overlay.centering
            save_mask(setup, correction_levels(setup, overlaid), overlaid, staging / "overlaid.bmp")
        words = "" if both.overlay is None else f": {both.overlay.words}"
        for (name, estimate), image in zip(_beams(both).items(), (depletion, excitation), strict=True):
            bead = "SIMULATED bead" if estimate.simulated else "bead"
            draw_estimate(staging / f"{name}.png", image, estimate, f"{bead}, {name}{words}", remarks[name])
        write_json(staging / "estimate.json", saved.to_json() | facts)
    return saved


def _beams(both: TwoBeamEstimate) -> dict[str, Estimate]:
    return {"depletion": both.depletion, "excitation": both.excitation}


def _diagnosed(setup: Setup, both: TwoBeamEstimate) -> dict[str, tuple[Remark, ...]]:
    by_excitation = setup.model_copy(update={"depletion": setup.excitation})
    return {
        "depletion": diagnosed(setup, both.depletion),
        "excitation": diagnosed(by_excitation, both.excitation),
    }


def _objection(both: TwoBeamEstimate, *, strict: bool) -> str:
    for name, estimate in _beams(both).items():
        if objection := estimate.objection(strict=strict):
            return f"{name} beam: {objection}"
    return ""
