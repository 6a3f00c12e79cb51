"""Simulates volumes with psf-generator."""

from __future__ import annotations

import numpy as np
import torch
from measure import INDEX, NA, WAVELENGTH_NM, Engine, Floats, edge_factor
from psf_generator.propagators import VectorialCartesianPropagator
from volumes import Request, main

PUPIL_PIXELS = 256


def ansi(n: int, m: int) -> int:
    return (n * (n + 2) + m) // 2


def build(request: Request) -> Engine:
    """The engine, on the request's threads of torch."""
    torch.set_num_threads(request.threads)
    (lateral, axial), (across, planes) = request.half_nm, request.samples
    propagator = VectorialCartesianPropagator(
        n_pix_pupil=PUPIL_PIXELS,
        n_pix_psf=across,
        special_phase_mask="vortex" if request.vortex else None,
        e0x=1.0,
        # Its vortex turns against its azimuth; this hand of the light gives the zero.
        e0y=-1j,
        wavelength=WAVELENGTH_NM,
        na=NA,
        n_i=INDEX,
        n_i0=INDEX,
        # It spreads the width of N pixels over N - 1 gaps, along all three axes.
        pix_size=2 * lateral / across,
        defocus_step=2 * axial / planes,
        n_defocus=planes,
        apod_factor=True,
    )
    # Half of the depth is rounded to a whole number.
    reached = np.linspace(propagator.defocus_min, propagator.defocus_max, planes)
    # Its polynomials are 1 at the edge of the pupil, its coefficients rad, by ANSI index from 0.
    rad = 2 * np.pi * np.array([edge_factor(n, m) for n, m in request.modes])
    places = [ansi(n, m) for n, m in request.modes]

    def volume(waves: Floats) -> Floats:
        coefficients = np.zeros(max(places) + 1)
        coefficients[places] = rad * waves
        propagator.zernike_coefficients = torch.tensor(coefficients)
        field = propagator.compute_focus_field()
        return (field.abs() ** 2).sum(dim=1).permute(2, 1, 0).numpy()

    return Engine(volume, (request.lateral_nm(), request.lateral_nm(), reached))


if __name__ == "__main__":
    main(build)
