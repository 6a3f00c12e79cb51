"""Measures psf-generator; a setting is the number of pixels across its pupil: ``128``."""

from __future__ import annotations

import numpy as np
import torch
from measure import ANSI_3_TO_13, INDEX, NA, SAMPLES, STEP_NM, WAVELENGTH_NM, Engine, Floats, edge_factor, main
from psf_generator.propagators import VectorialCartesianPropagator

PLAIN = 3
"""Its list of coefficients starts with ANSI 0: piston and tilts, which are not drawn."""


def build(setting: str, threads: int) -> Engine:
    """The engine, on ``threads`` threads of torch."""
    torch.set_num_threads(threads)
    propagator = VectorialCartesianPropagator(
        n_pix_pupil=int(setting),
        n_pix_psf=SAMPLES,
        special_phase_mask="vortex",
        e0x=1.0,
        # Its vortex turns against its azimuth; this hand of the light gives the zero.
        e0y=-1j,
        wavelength=WAVELENGTH_NM,
        na=NA,
        n_i=INDEX,
        n_i0=INDEX,
        pix_size=STEP_NM,
        defocus_step=STEP_NM,
        n_defocus=SAMPLES,
        apod_factor=True,
    )
    # It spreads the requested width of 64 pixels over 63 gaps, along all three axes.
    positions = np.linspace(-0.5, 0.5, SAMPLES) * SAMPLES * STEP_NM
    # Its polynomials are 1 at the edge of the pupil, its coefficients rad.
    rad = 2 * np.pi * np.array([edge_factor(n, m) for n, m in ANSI_3_TO_13])

    def volume(waves: Floats) -> Floats:
        propagator.zernike_coefficients = torch.tensor(np.concatenate([np.zeros(PLAIN), rad * waves]))
        field = propagator.compute_focus_field()
        return (field.abs() ** 2).sum(dim=1).permute(2, 1, 0).numpy()

    return Engine(volume, (positions, positions, positions))


if __name__ == "__main__":
    main("psf-generator", ANSI_3_TO_13, build, "torch")
