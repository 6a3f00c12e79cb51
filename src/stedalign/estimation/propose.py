"""The network's proposal: a first wavefront and place for the fit to finish."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from stedalign.estimation.centering import displacement_nm
from stedalign.imaging.sections import OrthoSections, Sampling
from stedalign.networks.network import Network

Floats = NDArray[np.float64]

EDGE = 0.75
"""Share of the network's field that a picture has to cover to be worth showing to it."""
PLANE_AXES = (1, 0), (2, 0), (2, 1)
"""Rows and columns of the xy, xz and yz section, as axes x, y, z."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Where a fit may start."""

    waves: Floats
    """Coefficients (modes,) in rms waves."""
    shift_nm: Floats
    """Displacement of the focus (3,) along x, y, z: as the network says, else the center of mass."""
    sigma_waves: Floats | None = None
    """Standard deviation (modes,) that the network expects of its coefficients."""
    mask_offset: Floats | None = None
    """Where the mask lies on the pupil (2,), in pupil radii."""


def propose(network: Network, sections: OrthoSections, sampling: Sampling) -> Proposal | None:
    """What the network sees in a picture, or None where the picture shows too little.

    The picture is moved to its center of mass within each section and brought to the network's ``sampling``; where it
    has that already, by whole pixels, so that counts stay counts.
    """
    displacement, pixel_nm = np.array(displacement_nm(sections)), np.array(sections.pixel_nm)
    if sections.data.shape[1] == sampling.samples and sections.pixel_nm == sampling.pixel_nm:
        steps = np.rint(displacement / pixel_nm)
        moved = steps * pixel_nm
        planes = [
            ndimage.shift(plane, (-steps[row], -steps[column]), order=0, mode="nearest")
            for plane, (row, column) in zip(sections.data, PLANE_AXES, strict=True)
        ]
    else:
        if (pixel_nm * sections.data.shape[1] < EDGE * np.array(sampling.pixel_nm) * sampling.samples).any():
            return None
        moved = displacement
        axes = [
            (sampling.axis_px * own + offset) / seen + (sections.data.shape[1] - 1) / 2
            for own, seen, offset in zip(sampling.pixel_nm, pixel_nm, displacement, strict=True)
        ]
        planes = [
            ndimage.map_coordinates(plane, np.meshgrid(axes[row], axes[column], indexing="ij"), order=1, mode="nearest")
            for plane, (row, column) in zip(sections.data, PLANE_AXES, strict=True)
        ]
    found = network.predict_all(torch.from_numpy(np.stack(planes)).float()[None])
    if found.waves is None:
        raise ValueError("this network predicts the mask offset alone, no modes")
    shift = displacement if found.shift_nm is None else moved + found.shift_nm[0].double().numpy()
    sigma = None if found.sigma is None or found.sigma.waves is None else found.sigma.waves[0].double().numpy()
    offset = None if found.mask_offset is None else found.mask_offset[0].double().numpy()
    return Proposal(found.waves[0].double().numpy(), shift, sigma, offset)
