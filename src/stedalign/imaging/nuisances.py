"""What an image depends on besides the wavefront, and how well the setup knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from stedalign.imaging.forward import ForwardModel
from stedalign.optics.beam import Beam
from stedalign.optics.detection import OPEN, Detection
from stedalign.optics.deviations import within_room
from stedalign.optics.parameters import PARAMETERS, free_deviations
from stedalign.spec import Spec, or_infinite, zero_or

SIGMAS = 3.0
"""Standard deviations beyond which nothing is looked for."""
LEAST = 1e-6
"""Smallest standard deviation that is not 0, in the unit of each setting."""
LEAST_COUNTS = 1e-2
"""Lower bound of each section's counts at the crest."""
FLAT_WAVES, FLAT_NM = 0.1, 100.0
"""Standard deviation of each mode and of the place along z, before one plane alone is looked at."""


class Nuisances(Spec):
    """How well the setup knows the instrument: standard deviations of what an estimate finds beside the wavefront.

    0 = exactly as the setup says; inf = nothing is known, where the image tells it all the same.
    """

    drift_nm: Annotated[float, Field(ge=0, le=1e4), zero_or(LEAST)] = 20.0
    """Each section's own shift along each axis."""
    mask_offset: Annotated[float, Field(ge=0), zero_or(LEAST), or_infinite(10)] = 0.08
    """Offset of the mask against the pupil along each axis, in pupil radii."""
    taper: Annotated[float, Field(ge=0), zero_or(LEAST), or_infinite(100)] = 0.6
    """Of 1 / fill^2: 0.6 makes a uniform beam one of fill 1.3 or wider."""
    fill_center: Annotated[float, Field(ge=0, le=10), zero_or(LEAST)] = 0.03
    """Offset of the beam's center against the pupil along each axis, in pupil radii."""
    ellipticity_deg: Annotated[float, Field(ge=0, lt=90), zero_or(LEAST)] = 4.0
    """Loss of ellipticity of the polarization."""
    blur_nm: Annotated[float, Field(ge=0), zero_or(LEAST), or_infinite(1e4)] = 30.0
    """Of a Gaussian blur, as from vibration: its own standard deviation along each axis."""
    bead_diameter_nm: Annotated[float, Field(ge=0, le=1e5), zero_or(LEAST)] = 0.0
    """Of the bead's diameter. A larger bead looks much as a blur does: with both unknown, neither is told well."""
    pixel_error: Annotated[float, Field(ge=0), zero_or(LEAST), or_infinite(10)] = 0.015
    """Of the pixel size along x and y, as a fraction."""
    z_scale: Annotated[float, Field(ge=0), zero_or(LEAST), or_infinite(10)] = 0.3
    """Of the pixel size along z, as a fraction: steps of z are rarely what they are said to be, for piezos creep and
    the refraction at a mismatched sample shortens them (Hell et al. 1993)."""
    shear: Annotated[float, Field(ge=0, le=10), zero_or(LEAST)] = 0.0
    """Of the image's displacement along x and along y for each nm of z, where the scan's z axis leans: say 0.02."""
    ez_weight: Annotated[float, Field(ge=0), zero_or(LEAST), or_infinite(100)] = 0.0
    """Of how strongly the detection weighs abs(Ez)^2, 1 in the setup: an objective sees little of a bead's dipole
    along its axis."""
    index_layer_nm: Annotated[float, Field(ge=0, le=1e5), zero_or(LEAST)] = 0.0
    """Thickness of a layer before the focus with the index of the sample, or of water where sample_index is not set."""
    pinhole: Annotated[float, Field(ge=0, le=100), zero_or(LEAST)] = 0.0
    """Of 1 / pinhole_airy: 0.5 lets an open pinhole be one of 2 Airy units, and one of 1 be one of 2/3."""
    halves_offset: Annotated[float, Field(ge=0, le=10), zero_or(LEAST)] = 0.0
    """Of the mask's offset along each axis for light polarized along x, which has its opposite for light along y, in
    pupil radii: where the two come from two halves of a panel, say 0.1."""
    halves_tilt: Annotated[float, Field(ge=0, le=10), zero_or(LEAST)] = 0.0
    """Of the tilt along each axis of light polarized along x, whose opposite light along y has, in waves at the pupil's
    edge: where the two come from two halves of a panel, say 0.05."""
    plane_flux: Annotated[float, Field(ge=0, le=0.5), zero_or(LEAST)] = 0.0
    """Of the light of each plane of a volume that is scanned plane by plane, as a fraction."""
    plane_wobble_nm: Annotated[float, Field(ge=0, le=100), zero_or(LEAST)] = 0.0
    """Of the displacement of each plane of such a volume along x and y."""

    @property
    def unsteady(self) -> tuple[float, float]:
        """Light, as a fraction, and place in nm of each plane of a volume: what ``ForwardModel`` takes."""
        return self.plane_flux, self.plane_wobble_nm

    def sigmas(self, beam: Beam, axes: str = "xyz", detection: Detection = OPEN) -> dict[str, float]:
        """The standard deviation of each free parameter of ``ForwardModel`` that is not known.

        Of those that this beam has and that matter in an image that resolves ``axes``.
        """
        return free_deviations(self.model_dump(), beam, axes, detection)

    def free(self, beam: Beam, axes: str = "xyz", detection: Detection = OPEN) -> dict[str, float]:
        """How far each of them may deviate, as ``ForwardModel`` wants it."""
        reach = {
            name: min(SIGMAS * sigma, PARAMETERS[name].plausible, PARAMETERS[name].largest(beam))
            for name, sigma in self.sigmas(beam, axes, detection).items()
        }
        return within_room(beam, reach)


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of a model's parameters before the image is seen: independent normal distributions, with bounds.

    In the order of a ``ParameterLayout``, (P,) each; the lowest values may be each image's own, (B, P).
    """

    mean: Float[Tensor, " parameters"]
    precision: Float[Tensor, " parameters"]
    """Inverse variances; 0 where nothing is known."""
    lowest: Float[Tensor, "*images parameters"]
    highest: Float[Tensor, " parameters"]

    @classmethod
    def of(
        cls,
        model: ForwardModel,
        nuisances: Nuisances | None = None,
        least_background: Float[Tensor, "images parts"] | None = None,
    ) -> Prior:
        """For a ``model`` with ``nuisances.free`` free, or with nothing known but the bounds.

        The background is at least ``least_background`` (B, parts), of each image its own; 0 without it.

        One plane hardly tells how far it lies from the focus, nor modes that act alike: what the image resolves no z
        for, modes and place have priors of ``FLAT_WAVES`` and ``FLAT_NM``.
        """
        reach, layout = model.reach, model.layout
        mean, precision = torch.zeros(2, len(layout), dtype=torch.float64)
        lowest, highest = torch.full_like(mean, -torch.inf), torch.full_like(mean, torch.inf)
        sigmas = {} if nuisances is None else nuisances.sigmas(layout.beam, detection=layout.detection)
        for column, (name, nominal) in enumerate(zip(reach, layout.nominal, strict=True), layout.free.start):
            mean[column] = nominal
            if name in sigmas:
                precision[column] = sigmas[name] ** -2
            lowest[column], highest[column] = PARAMETERS[name].bounds(nominal, reach[name])
        if nuisances is not None and nuisances.drift_nm > 0:
            precision[layout.drift] = nuisances.drift_nm**-2
        if "z" not in model.view.axes:
            precision[layout.modes] = FLAT_WAVES**-2
            precision[layout.shift.stop - 1] = FLAT_NM**-2
        lowest[layout.scale] = LEAST_COUNTS
        lowest[layout.background] = 0.0
        if least_background is not None:
            lowest = lowest.repeat(len(least_background), 1)
            lowest[:, layout.background] = least_background
        return cls(mean, precision, lowest, highest)
