"""The network family of the origin: AlexNet-like, five convolutions and three dense layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stedalign.errors import InputError
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.outputs import Outputs

REDUCTION = 8
"""Three poolings by two: the samples along an axis must be a multiple of it."""
STEM_LAYERS = 8
"""The first two convolutions with their activations, poolings and dropouts."""


class AlexNet(SectionNetwork):
    """The origin's network for one section or three.

    The sections are the channels of the first convolution; with ``separate_stems`` each goes through the first two
    convolutions alone, with the same weights, and the third convolution sees the maps of all. (The origin's number of
    weights tells that: 96 instead of 32 maps into the third convolution are 36,864 more than in Net11.)
    """

    def __init__(
        self, planes: Sequence[str], outputs: Outputs, forward: ForwardSpec, *, separate_stems: bool = False
    ) -> None:
        """Raises ``InputError`` unless the sections' samples are a multiple of 8."""
        super().__init__(planes)
        samples = forward.sampling.samples
        if samples % REDUCTION:
            raise InputError(f"the network halves its input three times: {samples} samples are no multiple of 8")
        self.separate_stems = separate_stems
        channels, copies = (1, len(planes)) if separate_stems else (len(planes), 1)
        self.features = nn.Sequential(
            # ReLU commutes with the maximum: pooled first, it has a fourth of the work.
            *(nn.Conv2d(channels, 32, 5, padding="same"), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Conv2d(32, 32, 5, padding="same"), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Conv2d(32 * copies, 64, 3, padding="same"), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding="same"), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding="same"), nn.MaxPool2d(2), nn.ReLU()),
        )
        # Convolutions run a sixth faster on the CPU with the channels last; their outputs follow their weights.
        self.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.regression = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(64 * (samples // REDUCTION) ** 2, 512), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2)),
            nn.Linear(512, len(outputs)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Outputs (B, outputs) for normalized images (B, 3, N, N)."""
        outputs: Tensor = self.regression(self._maps(self.standardized(images)))
        return outputs

    def _maps(self, sections: Tensor) -> Tensor:
        """The last convolution's maps (B, 64, N / 8, N / 8) of sections (B, planes, N, N)."""
        stem, rest = self.features[:STEM_LAYERS], self.features[STEM_LAYERS:]
        parts = sections.split(1, dim=1) if self.separate_stems else (sections,)
        maps: Tensor = rest(torch.cat([stem(part) for part in parts], dim=1))
        return maps
