"""A trained network together with what its outputs mean."""

from __future__ import annotations

import torch
from torch import Tensor

from stedalign.errors import InputError
from stedalign.imaging.images import PLANES, normalize
from stedalign.networks.image_network import ImageNetwork
from stedalign.networks.outputs import Outputs, Prediction


class Network:
    """Sections in, coefficients and mask offset out, through the same normalization as in training."""

    def __init__(self, module: ImageNetwork, outputs: Outputs, training: dict[str, object] | None = None) -> None:
        """``module`` maps normalized sections to ``outputs``; ``training`` says where it comes from."""
        self.module = module.eval()
        self.outputs = outputs
        self.training = training or {}

    @property
    def planes(self) -> tuple[str, ...]:
        """The planes that the network sees: of three sections, or of a z-stack."""
        return self.module.planes

    @property
    def stack(self) -> int:
        """Planes of the z-stack that it sees; 0 where it sees sections."""
        return self.module.stack

    @torch.no_grad()
    def predict_all(self, sections: Tensor) -> Prediction:
        """All that the network predicts of images (B, 3, N, N) in counts or any other unit.

        Networks of z-stacks take those, (B, planes, N, N), instead. Always in evaluation mode: dropout that stays
        active makes a network guess. Raises ``InputError`` for images of another number of planes.
        """
        if sections.shape[1] != (self.stack or len(PLANES)):
            wanted = f"z-stacks of {self.stack} planes" if self.stack else "three sections"
            raise InputError(f"this network sees {wanted}, and is shown images of {sections.shape[1]} planes")
        self.module.eval()
        return self.outputs.read(self.module(normalize(sections.float())))

    def predict(self, sections: Tensor) -> Tensor:
        """Coefficients (B, modes) in rms waves of images (B, 3, N, N).

        Raises ``InputError`` where the network predicts the mask offset alone.
        """
        waves = self.predict_all(sections).waves
        if waves is None:
            raise InputError("this network predicts the mask offset alone, no modes")
        return waves
