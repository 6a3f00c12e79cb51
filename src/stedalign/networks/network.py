"""A trained network together with the modes its outputs mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stedalign.imaging.sections import normalize
from stedalign.optics.wavefront import ModeSet


class Network:
    """Sections in, coefficients out, through the same normalization as in training."""

    def __init__(self, module: nn.Module, modes: ModeSet, training: dict[str, object] | None = None) -> None:
        """``module`` maps normalized sections to peak waves; ``training`` says where they come from."""
        self.module = module.eval()
        self.modes = modes
        self.training = training or {}

    @torch.no_grad()
    def predict(self, sections: Tensor) -> Tensor:
        """Coefficients (B, modes) in rms waves of pictures (B, 3, N, N) in counts or any other unit.

        Always in evaluation mode: dropout that stays active makes a network guess.
        """
        self.module.eval()
        peak_waves: Tensor = self.module(normalize(sections.float()))
        return peak_waves / torch.as_tensor(self.modes.norms).to(peak_waves)
