"""Where the donut sits, and which tip, tilt and defocus would move it to the middle."""

from __future__ import annotations

import numpy as np
import torch

from stedalign.imaging.center_of_mass import center_of_exposure_px, center_of_mass_px
from stedalign.imaging.images import Image, OrthoSections
from stedalign.optics.objective import Objective
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.optics.zernike import Mode

TIP_TILT_DEFOCUS = ModeSet((Mode(1, -1), Mode(1, 1), Mode(2, 0)))


def displacement_nm(image: Image) -> tuple[float, float, float]:
    """Center of mass of the donut relative to the middle of the image, along x, y, z; 0 along an axis not seen."""
    if isinstance(image, OrthoSections):
        offset = center_of_mass_px(torch.from_numpy(np.array(image.data))[None])[0].tolist()
        x, y, z = (float(o * pixel) for o, pixel in zip(offset, image.pixel_nm, strict=True))
        return x, y, z
    along: dict[str, list[float]] = {axis: [] for axis in "xyz"}
    for part, counts in zip(image.view.parts, image.counts, strict=True):
        center = center_of_exposure_px(torch.from_numpy(counts.copy()))
        for (axis, pixel), value in zip(image.view.pixel_of(part).items(), center, strict=True):
            along[axis].append(value * pixel)
    x, y, z = (float(np.mean(values)) if values else 0.0 for values in along.values())
    return x, y, z


def centering_wavefront(
    displacement: tuple[float, float, float], objective: Objective, wavelength_nm: float
) -> Wavefront:
    """Tip, tilt and defocus that move a focus from ``displacement`` (x, y, z in nm) back to the middle.

    Tip and tilt scale with the NA, which is the pupil's radius over the focal length; they are exact. Defocus is
    the projection of the propagation phase n z cos(theta) on the Zernike mode (2, 0), whose low-NA limit is
    -z NA^2 / (4 sqrt(3) n wavelength); the rest of that phase is spherical and higher.
    """
    x, y, z = displacement
    na = objective.na
    node, weight = np.polynomial.legendre.leggauss(40)
    rho_squared = (node + 1) / 2
    cosine = np.sqrt(1 - (na / objective.immersion_index) ** 2 * rho_squared)
    overlap = float((weight / 2 * cosine * np.sqrt(3) * (2 * rho_squared - 1)).sum())
    return Wavefront(
        TIP_TILT_DEFOCUS,
        (
            y * na / (2 * wavelength_nm),
            x * na / (2 * wavelength_nm),
            z * objective.immersion_index / wavelength_nm * overlap,
        ),
    )
