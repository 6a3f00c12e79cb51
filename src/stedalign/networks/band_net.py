"""A network for the band-limited light of a focus: few numbers in, a residual stack of dense layers behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.outputs import Outputs
from stedalign.networks.symmetry import (
    TURNS,
    TurningLinear,
    looks_the_same_mirrored,
    looks_the_same_turned,
    mirrored_outputs,
    mirrored_sections,
    turned_outputs,
    turned_sections,
)
from stedalign.optics.resolution import bandwidth
from stedalign.optics.targets import AXES

GUARD_COSINES = 4
"""Cosines beyond the edge of the band, for what the borders of the image cut off."""


class BandNet(SectionNetwork):
    """Cosine coefficients of each section within the band of the optics, then dense residual blocks.

    A focus has no detail beyond the band limit, so its image is a few hundred numbers and noise; a donut lies in the
    middle, so that nothing is gained by looking for it everywhere, as convolutions do. At equal time of training on
    one core this learns several times more than residual convolutions (docs/decisions/0007). Where a quarter turn of
    the instrument changes nothing, the network turns its answer with the image, and likewise where the mirror changes
    nothing: it learns from each image as from eight.
    """

    back: Tensor

    def __init__(
        self, planes: Sequence[str], outputs: Outputs, forward: ForwardSpec, *, width: int = 256, depth: int = 4
    ) -> None:
        super().__init__(planes)
        sampling = forward.sampling
        self.samples = sampling.samples
        finest = {
            axis: math.pi / bandwidth(forward.objective, direction, forward.beam.wavelength_nm)
            for axis, direction in AXES.items()
        }
        pixel = dict(zip(AXES, sampling.pixel_nm, strict=True))
        # Pixels half as wide as the finest detail needs, so that adding up counts loses nothing.
        fitting = [
            step
            for step in (1, 2, 4, 8)
            if self.samples % step == 0 and all(step * pixel[axis] <= finest[axis] / 2 for axis in AXES)
        ]
        self.binning = max(fitting, default=1)
        count = self.samples // self.binning
        place = (torch.arange(count) + 0.5) * math.pi / count
        for axis in AXES:
            cosines = min(count, math.ceil(self.samples * pixel[axis] / finest[axis]) + GUARD_COSINES)
            matrix = torch.cos(torch.arange(cosines)[:, None] * place) * math.sqrt(2 / count)
            matrix[0] /= math.sqrt(2)
            self.register_buffer(f"cosines_{axis}", matrix, persistent=False)
        self.outputs = outputs
        self.turns = TURNS if planes == PLANES and looks_the_same_turned(forward, outputs.modes) else 1
        """Turns of the image that the network knows to be the same to it."""
        self.sides = 2 if looks_the_same_mirrored(forward) else 1
        """The image alone, or mirrored too."""
        turn_back = turned_outputs(outputs).T if self.turns > 1 else torch.eye(outputs.labels)
        back = torch.stack([torch.linalg.matrix_power(turn_back, turn) for turn in range(self.turns)])
        mirror_back = torch.stack([torch.eye(outputs.labels), mirrored_outputs(outputs)])[: self.sides]
        self.register_buffer("back", mirror_back[:, None] @ back, persistent=False)
        sizes = {axis: len(self.get_buffer(f"cosines_{axis}")) for axis in AXES}
        inputs = sum(sizes[plane[0]] * sizes[plane[1]] + 1 for plane in self.planes)
        width = width if self.turns > 1 else 3 * width
        self.stem = nn.Linear(inputs, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, self.turns) for _ in range(depth)))
        self.norm = nn.LayerNorm([self.turns, width], elementwise_affine=False)
        self.head = nn.Linear(width, len(outputs))

    def set_input_statistics(self, mean: Tensor, std: Tensor) -> None:
        if self.turns > 1:
            # A turn exchanges xz and yz.
            mean, std = (torch.stack([values[0], *2 * [values[1:].mean()]]) for values in (mean, std))
        super().set_input_statistics(mean, std)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs (B, len(outputs)) for normalized images (B, 3, N, N), as they are or binned already."""
        sections, noise = self._coefficients(self.standardized(self.binned(images)))
        views = [self._turned(sections, noise)]
        if self.sides == 2:
            views.append(self._turned(mirrored_sections(self.planes, sections), noise))
        answers = self.head(self.norm(self.blocks(self.stem(torch.cat(views))))).unflatten(0, (self.sides, -1))
        # What is said about the turned or mirrored image, turned or mirrored back.
        average = "sbtl,stkl->bk"
        values, logs = answers.split([self.outputs.labels, answers.shape[-1] - self.outputs.labels], dim=-1)
        values = torch.einsum(average, values, self.back) / (self.sides * self.turns)
        if not self.outputs.sigma:
            return self.outputs.scaled(values)
        logs = torch.einsum(average, logs, self.back.abs()) / (self.sides * self.turns)
        return self.outputs.scaled(torch.cat([values, logs], dim=1))

    def _turned(self, sections: Sequence[Tensor], noise: Sequence[Tensor]) -> Tensor:
        """One row of numbers for each turn of the image, (B, turns, inputs)."""
        rows = []
        for turn in range(self.turns):
            rows.append(torch.cat([*(section.flatten(1) for section in sections), *noise], dim=1))
            if turn + 1 < self.turns:
                sections, noise = turned_sections(*sections), (noise[0], noise[2], noise[1])
        return torch.stack(rows, dim=1)

    def _coefficients(self, sections: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Of each section (B, planes, n, n), and how much of it lies outside the band: the noise, (B, 1) each."""
        inside, outside = [], []
        for plane, section in zip(self.planes, sections.unbind(1), strict=True):
            columns, rows = (self.get_buffer(f"cosines_{axis}") for axis in plane)
            inside.append(rows @ section @ columns.mT)
            left = section.square().sum((1, 2)) - inside[-1].square().sum((1, 2))
            outside.append((left.clamp_min(0) / section[0].numel() + 1e-4).log()[:, None])
        return inside, outside


class ResidualBlock(nn.Module):
    """x + two dense layers of x normalized, (B, turns, width), which begins as x alone."""

    def __init__(self, width: int, turns: int) -> None:
        super().__init__()
        layer = TurningLinear if turns > 1 else nn.Linear
        self.norm = nn.LayerNorm([turns, width], elementwise_affine=False)
        self.into = layer(width, width)
        self.out = layer(width, width)
        self.gain = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.out(functional.gelu(self.into(self.norm(x))))
        return x + self.gain * added
