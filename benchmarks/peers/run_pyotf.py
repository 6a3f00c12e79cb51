"""Measures pyotf's Hanser model; a setting is the size of the grid that it transforms: ``256``."""

from __future__ import annotations

import numpy as np
from measure import ANSI_3_TO_13, INDEX, NA, SAMPLES, STEP_NM, WAVELENGTH_NM, Engine, Floats, main
from pyotf.otf import HanserPSF
from pyotf.zernike import zernike


def build(setting: str, threads: int) -> Engine:
    """The engine; pyotf has one thread, whatever ``threads`` says."""
    size = int(setting)
    positions = (np.arange(SAMPLES) - SAMPLES // 2) * STEP_NM
    model = HanserPSF(
        wl=WAVELENGTH_NM, na=NA, ni=INDEX, res=STEP_NM, size=size, zrange=positions, vec_corr="total", condition="sine"
    )
    # Its polynomials are orthonormal; its pupil is a plane of spatial frequencies in the order of an FFT.
    frequency = np.fft.fftfreq(size, STEP_NM)
    x, y = np.meshgrid(frequency, frequency)
    radius, azimuth = np.hypot(x, y) * WAVELENGTH_NM / NA, np.arctan2(y, x)
    # The vortex has no phase in the middle, where its mean is 0.
    donut = np.exp(1j * azimuth) * ((radius > 0) & (radius <= 1))
    basis = 2 * np.pi * zernike(radius, azimuth, *np.transpose(ANSI_3_TO_13))
    crop = slice((size - SAMPLES) // 2, (size + SAMPLES) // 2)

    def volume(waves: Floats) -> Floats:
        model.apply_pupil(donut * np.exp(1j * np.tensordot(waves, basis, axes=1)))
        # Fields of x- and y-polarized light, as Ez, Ey and Ex: zx, zy, yx, yy, xx, xy.
        parts = model.PSFa[:, :, crop, crop]
        field = parts[[0, 2, 4]] + 1j * parts[[1, 3, 5]]
        return (np.abs(field) ** 2).sum(axis=0).transpose(2, 1, 0)

    return Engine(volume, (positions, positions, positions))


if __name__ == "__main__":
    main("pyotf", ANSI_3_TO_13, build)
