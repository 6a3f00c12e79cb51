"""The network's proposal: a first wavefront for the fit to finish."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from stedalign.estimation.centering import displacement_nm
from stedalign.imaging.sections import OrthoSections, Sampling
from stedalign.networks.network import Network

EDGE = 0.75
"""Share of the network's field that a picture has to cover to be worth showing to it."""


def propose(network: Network, sections: OrthoSections, sampling: Sampling) -> NDArray[np.float64] | None:
    """Rms waves (modes,) that the network sees in a picture, or None where the picture shows too little.

    The picture is moved to its center of mass within each section and brought to the network's ``sampling``.
    """
    shift = displacement_nm(sections)
    seen = np.array(sections.pixel_nm) * sections.data.shape[1]
    if (seen < EDGE * np.array(sampling.pixel_nm) * sampling.samples).any():
        return None
    axes = [
        sampling.axis_px * pixel_nm / seen_nm + offset / seen_nm + (sections.data.shape[1] - 1) / 2
        for pixel_nm, seen_nm, offset in zip(sampling.pixel_nm, sections.pixel_nm, shift, strict=True)
    ]
    planes = [
        ndimage.map_coordinates(plane, np.meshgrid(axes[row], axes[column], indexing="ij"), order=1, mode="nearest")
        for plane, (row, column) in zip(sections.data, ((1, 0), (2, 0), (2, 1)), strict=True)
    ]
    picture = torch.from_numpy(np.stack(planes)).float()[None]
    return np.asarray(network.predict(picture)[0].double().numpy())
