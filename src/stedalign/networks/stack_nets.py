"""Networks that see a whole z-stack instead of three sections: one with 3-D convolutions, one that reads it plane by
plane."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stedalign.errors import InputError
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.networks.image_network import ImageNetwork
from stedalign.networks.outputs import Outputs

STACK_PLANES = 16
"""Planes of the stack, over the field of the setup's samples."""


class StackNetwork(ImageNetwork):
    """A module that maps normalized stacks (B, ``stack``, n, n) to its outputs, with each plane's own statistics.

    Pixels come added up in twos along x and y.
    """

    stack = STACK_PLANES
    binning = 2

    def __init__(self, planes: Sequence[str], outputs: Outputs, forward: ForwardSpec) -> None:
        """Raises ``InputError`` unless the samples along an axis are a multiple of 16."""
        super().__init__([f"plane {index}" for index in range(self.stack)])
        if forward.sampling.samples % 16:
            raise InputError(f"the network halves its input often: {forward.sampling.samples} is no multiple of 16")
        self.outputs = outputs
        self.samples = forward.sampling.samples
        self.side = forward.sampling.samples // 16
        """Samples along x and y behind the convolutions."""


class VolumeNet(StackNetwork):
    """3-D convolutions that halve the volume three times along x and y and twice along z, and two dense layers."""

    def __init__(self, planes: Sequence[str], outputs: Outputs, forward: ForwardSpec) -> None:
        super().__init__(planes, outputs, forward)
        self.features = nn.Sequential(
            *(nn.Conv3d(1, 16, 3, stride=(1, 2, 2), padding=1), nn.GELU()),
            *(nn.Conv3d(16, 32, 3, stride=2, padding=1), nn.GroupNorm(4, 32), nn.GELU()),
            *(nn.Conv3d(32, 64, 3, stride=2, padding=1), nn.GroupNorm(8, 64), nn.GELU()),
            nn.Flatten(),
        )
        self.regression = nn.Sequential(
            *(nn.Linear(64 * self.stack // 4 * self.side**2, 512), nn.GELU()),
            *(nn.Linear(512, 512), nn.GELU()),
            nn.Linear(512, len(outputs)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Outputs (B, len(outputs)) for normalized stacks (B, stack, n, n)."""
        return self.outputs.scaled(self.regression(self.features(self.standardized(self.binned(images))[:, None])))


class SequenceNet(StackNetwork):
    """The same convolutions for each plane, and a recurrent network (LSTM) that reads the planes up and down."""

    def __init__(self, planes: Sequence[str], outputs: Outputs, forward: ForwardSpec) -> None:
        super().__init__(planes, outputs, forward)
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.GELU()),
            *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.GroupNorm(4, 32), nn.GELU()),
            *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.GroupNorm(8, 64), nn.GELU()),
            nn.Flatten(),
            *(nn.Linear(64 * self.side**2, 192), nn.GELU()),
        )
        self.reading = nn.LSTM(192, 192, batch_first=True, bidirectional=True)
        self.regression = nn.Sequential(
            *(nn.Linear(2 * 192, 512), nn.GELU()),
            nn.Linear(512, len(outputs)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Outputs (B, len(outputs)) for normalized stacks (B, stack, n, n)."""
        planes = self.standardized(self.binned(images))
        features = self.features(planes.flatten(0, 1)[:, None]).unflatten(0, planes.shape[:2])
        _, (last, _) = self.reading(features)
        return self.outputs.scaled(self.regression(torch.cat([last[0], last[1]], dim=1)))
