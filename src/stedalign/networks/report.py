"""The network family of the original report: AlexNet-like, five convolutions and three dense layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

REDUCTION = 8
"""Three poolings by two: the samples along an axis must be a multiple of it."""


class ReportNet(nn.Module):
    """The report's network for ``channels`` sections and ``outputs`` coefficients.

    With 3 channels, 11 outputs and 64 samples it is the report's MultiNet11 with 2,486,379 weights. The mean
    and standard deviation of each channel over the training pictures are buffers: they are saved with the
    weights and cannot be forgotten at the microscope.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, outputs: int, samples: int) -> None:
        """Raises ``ValueError`` unless ``samples`` is a multiple of 8."""
        super().__init__()
        if samples % REDUCTION:
            raise ValueError(f"the network halves its input three times: {samples} samples are no multiple of 8")
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))
        self.features = nn.Sequential(
            *(nn.Conv2d(channels, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)),
            *(nn.Conv2d(32, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)),
            *(nn.Conv2d(32, 64, 3, padding="same"), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding="same"), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.regression = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(64 * (samples // REDUCTION) ** 2, 512), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2)),
            nn.Linear(512, outputs),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Coefficients (B, outputs) in peak waves for normalized pictures (B, channels, N, N)."""
        # Convolutions run a sixth faster on the CPU with the channels last.
        standardized = ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        coefficients: Tensor = self.regression(self.features(standardized))
        return coefficients
