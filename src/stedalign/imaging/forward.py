"""The forward model: wavefront and nuisances in, expected counts of an image out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from stedalign.errors import InputError
from stedalign.focusing.focus import SHIFT_AXES, Focus
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import View
from stedalign.optics.wavefront import ModeSet


class ForwardModel(torch.nn.Module):
    """Expected counts of an image, and their analytic Jacobian, for batches of parameters.

    An image has one or several parts, such as three sections, each an exposure with its own light. One parameter
    vector holds, in this order: the modes in rms waves, the shift of the image along x, y, z in nm, where its parts
    drift the further shift of each, the free parameters of beam and image, then for each part the counts at the
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

        In float32, which is finer than any detector. Without a ``view`` an image is the three sections of the spec's
        sampling. With ``binning`` it is a model of ``binned`` images, of N pixels along each axis where the view has
        N x ``binning``. Raises ``InputError`` where they do not come out even.
        """
        super().__init__()
        self.view = view or spec.sampling.view
        if any(count % binning for count in self.view.shape):
            shape = " x ".join(map(str, self.view.shape))
            raise InputError(f"{shape} pixels cannot be binned by {binning}")
        self.binning = binning
        self.shape = tuple(count // binning for count in self.view.shape)
        """Pixels of each part as the model sees it."""
        self.pooled = binning ** len(self.shape)
        """How many of the image's pixels one of these holds."""
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
