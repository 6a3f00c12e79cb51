"""What the numbers of a network's last layer mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stedalign.errors import InputError
from stedalign.optics.parameters import MASK_OFFSETS, SHIFTS
from stedalign.optics.wavefront import ModeSet

LARGEST_LOG = 12.0
"""Bounds the logarithms of variances, in the squares of typical errors."""
TYPICAL_WAVES, TYPICAL_OFFSET, TYPICAL_SHIFT_NM = 0.05, 0.05, 20.0
"""Errors that are equally bad: rms waves of a mode, pupil radii, nm."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says about B images; None stands for what it does not predict."""

    waves: Tensor | None
    """Coefficients (B, modes) in rms waves."""
    mask_offset: Tensor | None
    """Where the mask lies on the pupil, (B, 2) along x and y, in pupil radii."""
    shift_nm: Tensor | None = None
    """Displacement of the focus (B, 3) along x, y, z in nm, the mean over the sections that see it."""
    sigma: Prediction | None = None
    """The standard deviation that the network expects of each of these numbers."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of a network, in this order: the modes in peak waves, the mask offset (x, y) in pupil radii, the
    shift (x, y, z) in nm; and then the logarithm of the variance of each.

    Raises ``InputError`` where that is neither modes nor mask offset.
    """

    modes: ModeSet | None
    mask_offset: bool = False
    shift: bool = False
    sigma: bool = False
    """Whether there are variances."""

    def __post_init__(self) -> None:
        if self.modes is None and not self.mask_offset:
            raise InputError("a network predicts modes, the mask offset or both")

    def __len__(self) -> int:
        return self.labels * (1 + self.sigma)

    @property
    def labels(self) -> int:
        """How many numbers are predicted, variances not counted."""
        return self._mode_count + len(MASK_OFFSETS) * self.mask_offset + len(SHIFTS) * self.shift

    @property
    def typical(self) -> Tensor:
        """Errors (labels,) that are equally bad, in the units of the outputs."""
        norms = [] if self.modes is None else [TYPICAL_WAVES * float(norm) for norm in self.modes.norms]
        offsets = [TYPICAL_OFFSET] * len(MASK_OFFSETS) * self.mask_offset
        return torch.tensor([*norms, *offsets, *[TYPICAL_SHIFT_NM] * len(SHIFTS) * self.shift])

    def values(self, outputs: Tensor) -> Tensor:
        """The predicted numbers (B, labels) among all outputs (B, len(self))."""
        return outputs[:, : self.labels]

    def log_variances(self, outputs: Tensor) -> Tensor:
        """The logarithms of their variances (B, labels), in the squares of their units."""
        return outputs[:, self.labels :]

    def read(self, outputs: Tensor) -> Prediction:
        """Outputs (B, len(self)), or ``values`` and differences of them, with their names and units."""
        sigma = None
        if outputs.shape[1] > self.labels:
            sigma = self.read((self.log_variances(outputs) / 2).exp())
        rest = self.values(outputs)
        waves = offset = shift = None
        if self.modes is not None:
            waves = rest[:, : self._mode_count] / torch.as_tensor(self.modes.norms).to(rest)
            rest = rest[:, self._mode_count :]
        if self.mask_offset:
            offset, rest = rest[:, : len(MASK_OFFSETS)], rest[:, len(MASK_OFFSETS) :]
        if self.shift:
            shift = rest
        return Prediction(waves, offset, shift, sigma)

    def scaled(self, numbers: Tensor) -> Tensor:
        """Outputs (B, len(self)) from numbers of the order of one, such as a last layer gives."""
        typical = self.typical.to(numbers)
        if not self.sigma:
            return numbers * typical
        # Smoothly bounded, so that a strange image cannot make a network infinitely sure.
        logs = LARGEST_LOG * torch.tanh(self.log_variances(numbers) / LARGEST_LOG)
        return torch.cat([self.values(numbers) * typical, logs + 2 * typical.log()], dim=1)

    @property
    def _mode_count(self) -> int:
        return 0 if self.modes is None else len(self.modes)


def log_likelihood_loss(outputs: Outputs, prediction: Tensor, labels: Tensor, beta: float = 0.0) -> Tensor:
    """Minus the logarithm of the Gaussian likelihood of the labels (B, labels), averaged over the batch and summed.

    In typical units, less a constant. With ``beta`` each term counts by that power of the variance, which
    is taken as given: without it a network first leaves alone what it finds hard (Seitzer et al. 2022, eq. 5).
    """
    typical = outputs.typical.to(labels)
    error = (outputs.values(prediction) - labels) / typical
    log_variance = outputs.log_variances(prediction) - 2 * typical.log()
    terms = (error.square() * (-log_variance).exp() + log_variance) / 2
    return (terms * (beta * log_variance).exp().detach()).mean(0).sum()
