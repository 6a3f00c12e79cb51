"""The network's proposal: a first wavefront and place for the fit to finish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage

from stedalign.errors import InputError
from stedalign.estimation.centering import displacement_nm
from stedalign.imaging.bead_in_volume import volume_planes
from stedalign.imaging.images import AXES_OF, PLANES, Image, Sampling, Volume
from stedalign.networks.network import Network

Floats = NDArray[np.float64]

LEAST_FIELD_SHARE = 0.75
"""Share of the network's field that an image has to cover to be worth showing to it."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Where a fit may start."""

    waves: Float[Floats, " modes"]
    """Coefficients (modes,) in rms waves."""
    shift_nm: Float[Floats, " 3"]
    """Displacement of the focus (3,) along x, y, z: as the network says, else the center of mass."""
    sigma_waves: Float[Floats, " modes"] | None = None
    """Standard deviation (modes,) that the network expects of its coefficients."""
    mask_offset: Float[Floats, " 2"] | None = None
    """Where the mask lies on the pupil (2,), in pupil radii."""


def propose(network: Network, images: Sequence[Image], sampling: Sampling) -> list[Proposal | None]:
    """What the network sees in three sections, or in an xy section if it needs no more; None where that is too little.

    An image is moved to its center of mass within each section and brought to the network's ``sampling``; where it
    has that already, by whole pixels, so that counts stay counts. Of a volume the network sees the planes through it.
    """
    shown = [_shown(network, image, sampling) for image in images]
    seen = [each for each in shown if each is not None]
    if not seen:
        return [None] * len(images)
    prediction = network.predict_all(torch.from_numpy(np.stack([planes for planes, *_ in seen])).float())
    if prediction.waves is None:
        raise InputError("this network predicts the mask offset alone, no modes")
    waves = prediction.waves.double().numpy()
    shifts, offsets = (
        None if part is None else part.double().numpy() for part in (prediction.shift_nm, prediction.mask_offset)
    )
    sigma = prediction.sigma
    sigmas = None if sigma is None or sigma.waves is None else sigma.waves.double().numpy()
    proposals = (
        Proposal(
            waves[row],
            displacement if shifts is None else moved + shifts[row],
            None if sigmas is None else sigmas[row],
            None if offsets is None else offsets[row],
        )
        for row, (_, moved, displacement) in enumerate(seen)
    )
    return [None if each is None else next(proposals) for each in shown]


def _shown(network: Network, image: Image, sampling: Sampling) -> tuple[Floats, Floats, Floats] | None:
    """The planes (3, N, N) that the network is shown, by how much (3,) they were moved, and the center of mass (3,).

    None where it needs others.
    """
    displacement = np.array(displacement_nm(image))
    sections = _sections(image, displacement)
    if network.stack or not set(network.planes) <= set(sections):
        return None
    pixels = {name: image.view.pixel_of(name) for name in image.view.parts if name in sections}
    alike = dict(zip("xyz", image.pixel_nm, strict=True))
    centered = _centered(sections, pixels or dict.fromkeys(sections, alike), displacement, sampling)
    if centered is None:
        return None
    planes, moved = centered
    # What a network does not look at may hold anything.
    return np.stack([planes.get(name, planes[network.planes[0]]) for name in PLANES]), moved, displacement


def _sections(image: Image, displacement_nm: Floats) -> dict[str, Floats]:
    """The sections of an image by name; of a volume the planes nearest to the place ``displacement_nm``."""
    if not isinstance(image, Volume):
        return dict(zip(image.view.parts, image.counts, strict=True))
    return volume_planes(image.data, image.pixel_nm, displacement_nm.tolist())


def _centered(
    sections: dict[str, Floats], pixels: Mapping[str, Mapping[str, float]], place_nm: Floats, sampling: Sampling
) -> tuple[dict[str, Floats], Floats] | None:
    """Each section (N, N) as the network wants it, and by how much (3,) all were moved; None if they are too small.

    ``pixels`` are the sizes of each section's in nm, along its axes.
    """
    wanted, samples = dict(zip("xyz", sampling.pixel_nm, strict=True)), sampling.samples
    place = dict(zip("xyz", place_nm.tolist(), strict=True))
    sampled_alike = all(pixels[name][axis] == wanted[axis] for name in sections for axis in AXES_OF[name])
    if sampled_alike and all(plane.shape == (samples, samples) for plane in sections.values()):
        steps = {axis: np.rint(place[axis] / wanted[axis]) for axis in "xyz"}
        moved = {
            name: ndimage.shift(plane, [-steps[axis] for axis in AXES_OF[name]], order=0, mode="nearest")
            for name, plane in sections.items()
        }
        return moved, np.array([steps[axis] * wanted[axis] for axis in "xyz"])
    resampled = {}
    for name, plane in sections.items():
        places = []
        for axis, count in zip(AXES_OF[name], plane.shape, strict=True):
            pixel = pixels[name][axis]
            if pixel * count < LEAST_FIELD_SHARE * wanted[axis] * samples:
                return None
            places.append((sampling.axis_px * wanted[axis] + place[axis]) / pixel + (count - 1) / 2)
        resampled[name] = ndimage.map_coordinates(plane, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
    return resampled, place_nm
