"""The forward model: wavefront and nuisances in, expected counts of a picture out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stedalign.imaging.detector import Bead
from stedalign.imaging.pictures import View
from stedalign.imaging.sections import Sampling
from stedalign.optics.beam import Beam, Objective
from stedalign.optics.focus import SHIFT_AXES, Focus
from stedalign.optics.spec import Spec
from stedalign.optics.wavefront import ModeSet


class ForwardSpec(Spec):
    """Everything that decides how the picture of an unaberrated focus looks."""

    objective: Objective = Objective()
    beam: Beam = Beam()
    bead: Bead = Bead()
    sampling: Sampling = Sampling()

    @property
    def picture(self) -> dict[str, Any]:
        """The description, as plain data, less what does not change the picture: laser power, pulses, places of files.

        What a file holds is told by its fingerprint.
        """
        where: dict[str, Any] = {"pattern": {"file"}, "polarization": {"file"}}
        inert = dict.fromkeys(("power_w", "repetition_rate_hz", "pulse_length_s", "transmittance"), True)
        plain: dict[str, Any] = json.loads(
            json.dumps(self.model_dump(exclude={"beam": inert | where | {"overlay": where}}))
        )
        return plain

    @property
    def hash(self) -> str:
        """A fingerprint of ``picture``."""
        return hashlib.sha256(json.dumps(self.picture, sort_keys=True).encode()).hexdigest()[:16]


class ForwardModel(torch.nn.Module):
    """Expected counts of a picture, and their analytic Jacobian, for batches of parameters.

    A picture has one or several parts, such as three sections, each an exposure with its own light. One parameter
    vector holds, in this order: the modes in rms waves, the shift of the picture along x, y, z in nm, where its parts
    drift the further shift of each, the free parameters of beam and picture, then for each part the counts at the
    unaberrated crest, and for each the background counts, both of a pixel before binning.
    """

    def __init__(
        self,
        spec: ForwardSpec,
        modes: ModeSet,
        *,
        view: View | None = None,
        free: Mapping[str, float] | None = None,
        drifting: bool = False,
        binning: int = 1,
        tolerance: float = 1e-4,
        strength_waves: float = 0.35,
    ) -> None:
        """Build the factored focus; ``free``, ``drifting``, ``tolerance`` and ``strength_waves`` as for ``Focus``.

        In float32, which is finer than any detector. Without a ``view`` a picture is the three sections of the spec's
        sampling. With ``binning`` it is a model of ``binned`` pictures, of N pixels along each axis where the view has
        N x ``binning``. Raises ``ValueError`` where they do not come out even.
        """
        super().__init__()
        self.view = view or spec.sampling.view
        if any(count % binning for count in self.view.shape):
            shape = " x ".join(map(str, self.view.shape))
            raise ValueError(f"{shape} pixels cannot be binned by {binning}")
        self.binning = binning
        self.shape = tuple(count // binning for count in self.view.shape)
        """Pixels of each part as the model sees it."""
        self.pooled = binning ** len(self.shape)
        """How many of the picture's pixels one of these holds."""
        self.spec = spec
        self.modes = modes
        self.focus = Focus(
            spec.objective,
            spec.beam,
            modes,
            self.view.targets(),
            bead_diameter_nm=spec.bead.diameter_nm,
            free=free,
            drifting=drifting,
            tolerance=tolerance,
            strength_waves=strength_waves,
        ).float()
        count, steering, parts = len(modes), self.focus.steering, self.view.parts
        self.shift = slice(count, count + 3)
        self.drift = slice(count + 3, steering)
        self.free = slice(steering, steering + len(self.focus.free))
        self.scale = slice(self.free.stop, self.free.stop + len(parts))
        self.background = slice(self.scale.stop, self.scale.stop + len(parts))
        self.names = (
            *(mode.name for mode in modes),
            *(f"shift {axis}" for axis in SHIFT_AXES),
            *(f"drift {part} {axis}" for part in parts for axis in SHIFT_AXES if drifting),
            *(name.replace("_", " ") for name in self.focus.free),
            *(f"scale {part}" for part in parts),
            *(f"background {part}" for part in parts),
        )

    def intensity(self, phase_parameters: Tensor) -> Tensor:
        """Intensity (B, parts, ...) relative to the unaberrated crest, for all but scale and background (B, free.stop).

        Of three sections (B, 3, N, N), of a volume (B, 1, Z, Y, X).
        """
        return torch.stack(self.focus(phase_parameters, self.binning), dim=1).unflatten(-1, self.shape)

    def binned(self, counts: Tensor) -> Tensor:
        """Counts (B, parts, ...) of the binned pixels: sums of photons are photons."""
        if self.binning == 1:
            return counts
        pool = functional.avg_pool2d if len(self.shape) == 2 else functional.avg_pool3d
        return pool(counts, self.binning, divisor_override=1)

    def unbinned(self, parameters: Tensor) -> Tensor:
        """Expected counts (B, parts, ...) of the pixels as they were before binning."""
        intensity = torch.stack(self.focus(parameters[:, : self.free.stop]), dim=1)
        return self._lit(intensity, parameters).unflatten(-1, self.view.shape)

    def forward(self, parameters: Tensor) -> Tensor:
        """Expected counts (B, parts, ...) for parameters (B, len(names))."""
        intensity = torch.stack(self.focus(parameters[:, : self.free.stop], self.binning), dim=1)
        return (self._lit(intensity, parameters) * self.pooled).unflatten(-1, self.shape)

    def linearize(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Expected counts (B, parts, pixels) and their derivatives (B, len(names), parts, pixels)."""
        values, derivatives = self.focus.jacobian(parameters[:, : self.free.stop], self.binning)
        intensity, slopes = torch.stack(values, dim=1), torch.stack(derivatives, dim=2)
        scale = parameters[:, self.scale, None] * self.pooled
        jacobian = slopes.new_zeros(len(slopes), len(self.names), *intensity.shape[1:])
        torch.mul(slopes, scale[:, None], out=jacobian[:, : self.free.stop])
        for part in range(len(self.view.parts)):
            jacobian[:, self.scale.start + part, part] = intensity[:, part] * self.pooled
            jacobian[:, self.background.start + part, part] = self.pooled
        return self._lit(intensity, parameters) * self.pooled, jacobian

    def _lit(self, intensity: Tensor, parameters: Tensor) -> Tensor:
        """Counts (B, parts, pixels) of a pixel before binning."""
        return intensity * parameters[:, self.scale, None] + parameters[:, self.background, None]
