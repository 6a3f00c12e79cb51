"""A network that the package does not have: one file, as a user would write it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import Architecture
from stedalign.optics.wavefront import ModeSet


class Linear(SectionNetwork):
    """Each output is a weighted sum of all pixels."""

    def __init__(self, planes: Sequence[str], outputs: Outputs, forward: ForwardSpec) -> None:
        super().__init__(planes)
        self.sum = nn.Linear(len(planes) * forward.sampling.samples**2, len(outputs))

    def forward(self, images: Tensor) -> Tensor:
        weighted: Tensor = self.sum(torch.flatten(self.standardized(images), 1))
        return weighted


NETWORK = Architecture(PLANES, Outputs(ModeSet.of([(2, 2), (2, -2)])), Linear)
