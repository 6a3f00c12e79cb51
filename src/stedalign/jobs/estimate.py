"""Estimating one image, and what is written of it."""

from __future__ import annotations

from pathlib import Path

from stedalign.alignment.session import Session
from stedalign.config.setup import Setup
from stedalign.estimation.centering import centering_wavefront
from stedalign.estimation.estimate import Estimate
from stedalign.estimation.estimator import Estimator
from stedalign.files import write_json
from stedalign.imaging.images import Image
from stedalign.jobs.mask import correction_levels, save_masks
from stedalign.networks.checkpoint import OtherSetupError, load_network, packaged_weights
from stedalign.networks.network import Network
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
