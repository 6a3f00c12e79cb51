"""Simulates volumes with faser; the wavefront is shown on its SLM, since its list of modes lacks some."""

from __future__ import annotations

import numpy as np
from faser.generators.base import PSFConfig, SLMConfig, mode
from faser.generators.vectorial.stephane import generate_psf
from measure import INDEX, NA, WAVELENGTH_NM, Engine, Floats
from volumes import Request, main, wavefront

NODES, SLM_PIXELS = 64, 512


def build(request: Request) -> Engine:
    """The engine; the number of threads reaches faser through the environment."""
    lateral, axial = request.lateral_nm(), request.axial_nm()
    fixed = {
        "NA": NA,
        "n1": INDEX,
        "n2": INDEX,
        "n3": INDEX,
        "Wavelength": WAVELENGTH_NM / 1000,
        "L_obs_XY": lateral[-1] / 1000,
        "L_obs_Z": axial[-1] / 1000,
        "Nxy": len(lateral),
        "Nz": len(axial),
        "Ntheta": NODES,
        "Nphi": NODES,
        "Mode": mode.DONUT if request.vortex else mode.GAUSSIAN,
        # Its beam is a Gaussian of at most 25 mm; a focal length (um) far below that makes the fill uniform to 1e-6.
        "WD": 25.0,
        "Waist": 24999.0,
    }
    # Its panel's first row lies at +y.
    axis = (np.arange(SLM_PIXELS) + 0.5) / SLM_PIXELS * 2 - 1
    x, y = np.meshgrid(axis, -axis)
    radius, azimuth = np.hypot(x, y), np.arctan2(y, x)

    def volume(waves: Floats) -> Floats:
        phase = 2 * np.pi * wavefront(request.modes, waves, radius, azimuth)
        return generate_psf(PSFConfig(**fixed, SLM=SLMConfig.from_array(phase))).transpose(2, 1, 0)

    return Engine(volume, (lateral, lateral, axial))


if __name__ == "__main__":
    main(build)
