"""An image as it was recorded, and as a fit wants it: photons, noise, and pixels that say nothing left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from stedalign.estimation.observed import Observed
from stedalign.imaging.detector import Detector
from stedalign.imaging.flaws import Flaws, find_flaws
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import VOLUME, Image
from stedalign.imaging.photon_transfer import Band, Reading, read_detector
from stedalign.optics.resolution import bandwidth
from stedalign.optics.targets import AXES

BAND_MARGIN = {"x": 1.05, "y": 1.05, "z": 1.35}
"""How much finer detail than the lens forms counts as light along each axis, for its scale may be off."""


@dataclass(frozen=True, eq=False)
class Recording:
    """What the counts of one image mean."""

    image: Image
    """As it was recorded, but for its flaws, which are filled from around them."""
    observed: Observed
    """The photons of the one image."""
    reading: Reading
    """How its counts became photons."""
    flaws: Flaws


def record(image: Image, spec: ForwardSpec, detector: Detector, *, unsteady: bool = False) -> Recording:
    """Read an image of an instrument: find its flaws, then what its noise says of the detector.

    Where planes are ``unsteady``, each with a light and a place of its own, no detail along z is told from noise.
    """
    flaws, view = find_flaws(image), image.view
    image = replace(image, data=flaws.filled.reshape(image.data.shape))
    limits = {
        axis: BAND_MARGIN[axis] * bandwidth(spec.objective, AXES[axis], spec.beam.wavelength_nm) for axis in view.axes
    }
    if unsteady and view.parts == (VOLUME,):
        limits["z"] = np.pi / view.pixel_nm[2]
    bands = [
        Band(view.shape, [limits[axis] * pixel for axis, pixel in view.pixel_of(part).items()]) for part in view.parts
    ]
    reading = read_detector(list(flaws.filled), list(flaws.weight), bands, detector)
    photons = torch.from_numpy(np.ascontiguousarray(reading.photons(flaws.filled)))[None]
    observed = Observed(photons, torch.full_like(photons, reading.extra), torch.from_numpy(flaws.weight.copy())[None])
    return Recording(image, observed, reading, flaws)
