"""The forward model: wavefront and nuisances in, expected counts of the three sections out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stedalign.imaging.detector import Bead
from stedalign.imaging.sections import PLANES, Sampling
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
    """Expected counts of the three sections, and their analytic Jacobian, for batches of parameters.

    One parameter vector holds, in this order: the modes in rms waves, the shift of the picture along x, y, z in
    nm, where sections drift the further shift of each, the free parameters of beam and picture, and for each section
    (xy, xz, yz) the counts at the unaberrated crest and the background counts, both of a pixel before binning.
    """

    def __init__(
        self,
        spec: ForwardSpec,
        modes: ModeSet,
        *,
        free: Mapping[str, float] | None = None,
        drifting: bool = False,
        binning: int = 1,
        tolerance: float = 1e-4,
        strength_waves: float = 0.35,
    ) -> None:
        """Build the factored focus; ``free``, ``drifting``, ``tolerance`` and ``strength_waves`` as for ``Focus``.

        In float32, which is finer than any detector. With ``binning`` it is a model of ``binned`` pictures, of N pixels
        along each axis where the sampling has N x ``binning``. Raises ``ValueError`` where they do not come out even.
        """
        super().__init__()
        if spec.sampling.samples % binning:
            raise ValueError(f"{spec.sampling.samples} pixels cannot be binned by {binning}")
        self.binning = binning
        self.spec = spec
        self.modes = modes
        self.focus = Focus(
            spec.objective,
            spec.beam,
            modes,
            spec.sampling.targets(),
            bead_diameter_nm=spec.bead.diameter_nm,
            free=free,
            drifting=drifting,
            tolerance=tolerance,
            strength_waves=strength_waves,
        ).float()
        count, steering = len(modes), self.focus.steering
        self.shift = slice(count, count + 3)
        self.drift = slice(count + 3, steering)
        self.free = slice(steering, steering + len(self.focus.free))
        self.scale = slice(self.free.stop, self.free.stop + 3)
        self.background = slice(self.scale.stop, self.scale.stop + 3)
        self.names = (
            *(mode.name for mode in modes),
            *(f"shift {axis}" for axis in SHIFT_AXES),
            *(f"drift {plane} {axis}" for plane in PLANES for axis in SHIFT_AXES if drifting),
            *(name.replace("_", " ") for name in self.focus.free),
            *(f"scale {plane}" for plane in PLANES),
            *(f"background {plane}" for plane in PLANES),
        )

    def intensity(self, phase_parameters: Tensor) -> Tensor:
        """Intensity (B, 3, N, N) relative to the unaberrated crest, for all but scale and background (B, free.stop)."""
        samples = self.spec.sampling.samples // self.binning
        return torch.stack(self.focus(phase_parameters, self.binning), dim=1).unflatten(-1, (samples, samples))

    def binned(self, counts: Tensor) -> Tensor:
        """Counts (B, 3, N, N) of the binned pixels: sums of photons are photons."""
        return functional.avg_pool2d(counts, self.binning, divisor_override=1)

    def unbinned(self, parameters: Tensor) -> Tensor:
        """Expected counts (B, 3, N, N) of the pixels as they were before binning."""
        samples = self.spec.sampling.samples
        phase, scale = parameters[:, : self.free.stop], parameters[:, self.scale, None, None]
        intensity = torch.stack(self.focus(phase), dim=1).unflatten(-1, (samples, samples))
        return intensity * scale + parameters[:, self.background, None, None]

    def forward(self, parameters: Tensor) -> Tensor:
        """Expected counts (B, 3, N, N) for parameters (B, len(names))."""
        scale = parameters[:, self.scale, None, None]
        background = parameters[:, self.background, None, None]
        return (self.intensity(parameters[:, : self.free.stop]) * scale + background) * self.binning**2

    def linearize(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Expected counts (B, 3, N^2) and their derivatives (B, len(names), 3, N^2)."""
        pixels = self.binning**2
        values, derivatives = self.focus.jacobian(parameters[:, : self.free.stop], self.binning)
        intensity, slopes = torch.stack(values, dim=1), torch.stack(derivatives, dim=2)
        scale = parameters[:, self.scale, None] * pixels
        jacobian = slopes.new_zeros(len(slopes), len(self.names), *intensity.shape[1:])
        torch.mul(slopes, scale[:, None], out=jacobian[:, : self.free.stop])
        for plane in range(len(PLANES)):
            jacobian[:, self.scale.start + plane, plane] = intensity[:, plane] * pixels
            jacobian[:, self.background.start + plane, plane] = pixels
        return intensity * scale + parameters[:, self.background, None] * pixels, jacobian
