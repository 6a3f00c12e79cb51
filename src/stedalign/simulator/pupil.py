"""The pupil of the simulated microscope: what the true beam is there, between the panel and the lens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stedalign.instrument.protocols import Levels
from stedalign.optics.objective import Objective
from stedalign.simulator.crest import nominal_amplitude, shares
from stedalign.simulator.hidden import HiddenWorld, IndexLayer
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.lens import CartesianLens
from stedalign.simulator.panel_phase import PanelPhase

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

CELLS_PER_PIXEL = 2
"""Pupil cells along a panel pixel."""


class TruePupil:
    """The plane waves that leave the lens, for whatever the panel shows.

    In units in which the crest of the ideal focus is 1. Hidden illumination reshapes the beam but brings the same
    power into the pupil.
    """

    def __init__(self, lens: CartesianLens, crest: float, instrument: Instrument, hidden: HiddenWorld) -> None:
        beam = instrument.depletion
        amplitude = hidden.illumination(lens.x, lens.y, beam) * lens.open_part(beam.stop_radius)
        kept_power = lens.power(nominal_amplitude(lens, beam)) / lens.power(amplitude)
        amplitude = amplitude * np.sqrt(kept_power / crest)
        phase = 2 * np.pi * hidden.aberration.modes.polynomials(lens.x, lens.y) @ hidden.aberration.array
        flatness = hidden.unmodeled.flatness
        if flatness is not None:
            phase = phase + 2 * np.pi * flatness.modes.polynomials(lens.x, lens.y) @ flatness.array
        if hidden.layer is not None:
            decay, layer_phase = _through_layer(lens, instrument.objective, beam.wavelength_nm, hidden.layer)
            amplitude, phase = amplitude * decay, phase + layer_phase
        self._components = []
        for share, component in shares(beam):
            parts = []
            for jones, side in hidden.polarization_parts(component.polarization):
                tilt = 2 * np.pi * side * (hidden.halves_tilt[0] * lens.x + hidden.halves_tilt[1] * lens.y)
                shift = hidden.mask_shift_of(side)
                unmasked = lens.waves(jones, np.sqrt(share) * amplitude, phase + tilt)
                unmasked[2] *= np.sqrt(hidden.ez_weight)
                if component.pattern != beam.pattern:
                    # The panel shows the mask of the first; that of the second differs by the pattern.
                    x, y = lens.x - shift[0], lens.y - shift[1]
                    unmasked *= np.exp(1j * (component.pattern.phase(x, y) - beam.pattern.phase(x, y)))
                panel = PanelPhase(lens, instrument.slm, CELLS_PER_PIXEL, shift, hidden.unmodeled.crosstalk_px)
                parts.append((unmasked, panel))
            self._components.append(parts)

    def waves(self, levels: Levels) -> list[Complexes]:
        """The plane waves (3, N, N) of each component of the beam with these gray levels on the panel."""
        components = []
        for (unmasked, panel), *others in self._components:
            waves = unmasked * panel.factor(levels)
            for unmasked, panel in others:
                waves = waves + unmasked * panel.factor(levels)
            components.append(waves)
        return components


def _through_layer(
    lens: CartesianLens, objective: Objective, wavelength_nm: float, layer: IndexLayer
) -> tuple[Floats, Floats]:
    """What a layer leaves of the amplitude in each cell (N, N), and the phase that it adds, without its mean.

    exp(i k0 d (n_s cos_s - n cos)) with Snell's law between them (Hell et al. 1993); beyond the critical angle the
    light decays in the layer.
    """
    depth = 2 * np.pi * layer.thickness_nm / wavelength_nm
    transverse = objective.na * np.minimum(np.hypot(lens.x, lens.y), 1)
    inside = np.sqrt((layer.index**2 - transverse**2).astype(np.complex128))
    outside = np.sqrt(objective.immersion_index**2 - transverse**2)
    phase = depth * (inside.real - outside)
    return np.exp(-abs(depth) * inside.imag), phase - (lens.area * phase).sum() / lens.area.sum()
