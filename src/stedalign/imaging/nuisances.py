"""What an image depends on besides the wavefront, and how well the setup knows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from stedalign.focusing.beam_family import OFFSETS
from stedalign.focusing.focus import BLUR, PIXEL_ERRORS, SHIFT_AXES
from stedalign.focusing.node_plan import room_for_offsets
from stedalign.focusing.pupil_quadrature import beam_parameter
from stedalign.imaging.forward import ForwardModel
from stedalign.optics.beam import Beam
from stedalign.spec import Spec

SIGMAS = 3.0
"""Standard deviations beyond which nothing is looked for."""
LEAST_COUNTS = 1e-2
"""Lower bound of each section's counts at the crest."""
FLAT_WAVES, FLAT_NM = 0.1, 100.0
"""Standard deviation of each mode and of the place along z, before one plane alone is looked at."""


class Nuisances(Spec):
    """How well the setup knows the instrument: standard deviations of what an estimate finds beside the wavefront.

    0 = exactly as the setup says; inf = nothing is known, where the image tells it all the same.
    """

    drift_nm: float = Field(20.0, ge=0, allow_inf_nan=False)
    """Each section's own shift along each axis."""
    mask_offset: float = Field(0.08, ge=0)
    """Offset of the mask against the pupil along each axis, in pupil radii."""
    taper: float = Field(0.6, ge=0)
    """Of 1 / fill^2: 0.6 makes a uniform beam one of fill 1.3 or wider."""
    fill_center: float = Field(0.03, ge=0, allow_inf_nan=False)
    """Offset of the beam's center against the pupil along each axis, in pupil radii."""
    ellipticity_deg: float = Field(4.0, ge=0, lt=90)
    """Loss of ellipticity of the polarization."""
    blur_nm: float = Field(30.0, ge=0)
    """Of a Gaussian blur, as from vibration: its own standard deviation along each axis."""
    pixel_error: float = Field(0.015, ge=0)
    """Of the pixel size along each axis, as a fraction."""

    def sigmas(self, beam: Beam, axes: str = "xyz") -> dict[str, float]:
        """The standard deviation of each free parameter of ``Focus`` that is not known.

        Of those that this beam has and that matter in an image that resolves ``axes``.
        """
        errors = [name for name, axis in zip(PIXEL_ERRORS, SHIFT_AXES, strict=True) if axis in axes]
        found = {BLUR: self.blur_nm**2} | dict.fromkeys(errors, self.pixel_error)
        if beam.overlay is None:
            found |= {"taper": self.taper} | dict.fromkeys(("fill_center_x", "fill_center_y"), self.fill_center)
            found |= dict.fromkeys(("leak_real", "leak_imaginary"), math.tan(math.radians(self.ellipticity_deg)))
            if beam.pattern.can_move:
                found |= dict.fromkeys(OFFSETS, self.mask_offset if room_for_offsets(beam) > 0 else 0.0)
        return {name: sigma for name, sigma in found.items() if sigma > 0}

    def free(self, beam: Beam, axes: str = "xyz") -> dict[str, float]:
        """How far each of them may deviate, as ``Focus`` and ``ForwardModel`` want it."""
        return {name: min(SIGMAS * sigma, _farthest(name, beam)) for name, sigma in self.sigmas(beam, axes).items()}


def _farthest(name: str, beam: Beam) -> float:
    """Beyond which no instrument is that anyone would align, or that the focus could follow."""
    if name == BLUR:
        return 60.0**2
    if name in PIXEL_ERRORS:
        return 0.06
    if name in OFFSETS:
        return min(0.25, room_for_offsets(beam))
    return {"taper": 1.6, "fill_center_x": 0.2, "fill_center_y": 0.2}.get(name, 0.25)


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of a model's parameters before the image is seen: independent normal distributions, with bounds.

    All have the shape (P,), in the order of ``ForwardModel.names``.
    """

    mean: Tensor
    precision: Tensor
    """Inverse variances; 0 where nothing is known."""
    lowest: Tensor
    highest: Tensor

    @classmethod
    def of(cls, model: ForwardModel, nuisances: Nuisances | None = None, read_noise: float = 0.0) -> Prior:
        """For a ``model`` with ``nuisances.free`` free, or with nothing known but the bounds.

        One plane hardly tells how far it lies from the focus, nor modes that act alike: what the image resolves no z
        for, modes and place have priors of ``FLAT_WAVES`` and ``FLAT_NM``.
        """
        count = len(model.names)
        mean, precision = torch.zeros(2, count, dtype=torch.float64)
        lowest = torch.full((count,), -torch.inf, dtype=torch.float64)
        highest = torch.full((count,), torch.inf, dtype=torch.float64)
        beam, reach = model.spec.beam, model.focus.reach
        sigmas = {} if nuisances is None else nuisances.sigmas(beam)
        for column, name in enumerate(model.focus.free, model.free.start):
            own = 0.0 if name == BLUR or name in PIXEL_ERRORS else beam_parameter(beam, name)
            mean[column] = own
            if name in sigmas:
                precision[column] = sigmas[name] ** -2
            # A blur has no negative variance, and a beam wider than a uniform one would be brightest at its edge.
            lowest[column] = max(own - reach[name], min(own, 0.0)) if name in (BLUR, "taper") else own - reach[name]
            highest[column] = own + reach[name]
        if nuisances is not None and nuisances.drift_nm > 0:
            precision[model.drift] = nuisances.drift_nm**-2
        if "z" not in model.view.axes:
            precision[: len(model.modes)] = FLAT_WAVES**-2
            precision[model.shift.stop - 1] = FLAT_NM**-2
        lowest[model.scale] = LEAST_COUNTS
        lowest[model.background] = -0.5 * read_noise**2
        return cls(mean, precision, lowest, highest)
