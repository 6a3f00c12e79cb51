"""What the numbers of a network's last layer mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stedalign.optics.wavefront import ModeSet

OFFSET_NAMES = "mask_offset_x", "mask_offset_y"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says about B pictures; None stands for what it does not predict."""

    waves: Tensor | None
    """Coefficients (B, modes) in rms waves."""
    mask_offset: Tensor | None
    """Where the mask lies on the pupil, (B, 2) along x and y, in pupil radii."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of a network, in this order: the modes in peak waves, then the mask offset (x, y) in pupil radii.

    Raises ``ValueError`` where that is nothing at all.
    """

    modes: ModeSet | None
    mask_offset: bool = False

    def __post_init__(self) -> None:
        if self.modes is None and not self.mask_offset:
            raise ValueError("a network predicts modes, the mask offset or both")

    def __len__(self) -> int:
        return self._mode_count + len(OFFSET_NAMES) * self.mask_offset

    def read(self, values: Tensor) -> Prediction:
        """Outputs (B, len(self)) with their names and units; linear, so that it reads differences too."""
        waves = None
        if self.modes is not None:
            peak_waves = values[:, : self._mode_count]
            waves = peak_waves / torch.as_tensor(self.modes.norms).to(peak_waves)
        return Prediction(waves, values[:, self._mode_count :] if self.mask_offset else None)

    @property
    def _mode_count(self) -> int:
        return 0 if self.modes is None else len(self.modes)
