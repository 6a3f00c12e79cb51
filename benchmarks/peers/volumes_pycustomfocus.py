"""Simulates volumes with PyCustomFocus, which sums over its nodes pixel by pixel: some seconds for each."""

from __future__ import annotations

import logging

import numpy as np
from measure import INDEX, NA, WAVELENGTH_NM, Engine, Floats
from PyFocus.custom_dataclasses.custom_mask import CustomMaskParameters
from PyFocus.custom_dataclasses.field_parameters import FieldParameters, PolarizationParameters
from PyFocus.custom_dataclasses.mask import MaskType
from PyFocus.model.focus_field_calculators.base import FocusFieldCalculator
from PyFocus.model.main_calculation_handler import MainCalculationHandler
from volumes import Request, main, wavefront

THETA, PHI = 60, 41
"""Nodes; the last azimuth is the first again."""
SILENT = MainCalculationHandler.BasicParameters(
    file_name="",
    propagate_incident_field=False,
    plot_incident_field=False,
    plot_focus_field_intensity=False,
    plot_focus_field_amplitude=False,
)
APERTURE_MM = 3.0


def build(request: Request) -> Engine:
    """The engine; it has one thread."""
    logging.disable()
    lateral, axial = request.lateral_nm(), request.axial_nm()
    step = float(axial[1] - axial[0])

    def pupil(waves: Floats):
        def field(rho: float, phi: float, w0: float, f: float, k: float) -> complex:
            phase = 2 * np.pi * wavefront(request.modes, waves, rho / (APERTURE_MM * 1e6), phi)
            return np.exp(1j * (phase + request.vortex * phi))

        return field

    def volume(waves: Floats) -> Floats:
        # It changes the units of what it is given, so each run gets its own.
        light = FieldParameters(
            w0=1.0, wavelength=WAVELENGTH_NM, I_0=1.0, polarization=PolarizationParameters(gamma=45.0, beta=90.0)
        )
        parameters = FocusFieldCalculator.FocusFieldParameters(
            NA=NA,
            n=INDEX,
            h=APERTURE_MM,
            x_range=2 * float(lateral[-1]),
            # It makes 1 / sqrt(2) of the lateral and 1 / 2 of the axial samples that range and steps say.
            x_steps=2 * float(lateral[-1]) / len(lateral) / 2**0.5,
            z_range=2 * step * len(axial),
            z_steps=step,
            field_parameters=light,
            custom_mask_parameters=CustomMaskParameters(divisions_theta=THETA, divisions_phi=PHI),
        )
        handler = MainCalculationHandler(mask_type=MaskType.custom_mask)
        fields = handler.calculate_3D_fields(SILENT, None, parameters, mask_function=pupil(waves))
        return fields.Intensity.transpose(2, 1, 0)

    # Its rows go from +y to -y, its planes around the one in the middle.
    planes = step * (np.arange(len(axial)) - len(axial) // 2)
    return Engine(volume, (lateral, lateral[::-1], planes))


if __name__ == "__main__":
    main(build)
