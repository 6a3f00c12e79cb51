"""The test images of a dataset: noise-free, of known wavefronts, with the model that they were simulated with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.dataset.generate import Simulator
from stedalign.dataset.spec import DatasetSpec
from stedalign.dataset.storage import check_optics, read_mask_offset, read_spec, read_split
from stedalign.errors import InputError
from stedalign.imaging.detector import NoiseSpec, add_noise
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.networks.outputs import Outputs

Floats = NDArray[np.float64]
SAME_IMAGE_TOLERANCE = 1e-2
"""Relative L2 difference up to which an image that is simulated again counts as the stored one."""
IMAGES_AT_ONCE = 16
"""In a batch: few enough for a fit to tell its progress."""


@dataclass(frozen=True, eq=False)
class KnownImages:
    """n noise-free images of one dataset and the truth about them."""

    simulator: Simulator
    rows: range
    """Which of the dataset's samples they are."""
    images: Tensor
    """(n, 3, N, N) in units of the unaberrated crest."""
    waves: Floats
    """(n, modes) in rms waves."""
    mask_offset: Floats | None
    """Where the mask lies on the pupil, (n, 2) in pupil radii; None where that is the same in all images."""
    held: Tensor
    """(P,), bool: parameters of the model that are the same in all images, and so known to whoever knows the data."""

    @classmethod
    def load(cls, path: Path, forward: ForwardSpec, outputs: Outputs, limit: int | None = None) -> KnownImages:
        """The first ``limit`` test images of a dataset, to be judged by ``outputs``.

        Raises ``InputError`` with one line for a file that is no dataset, is damaged, was made for another optics or
        other modes, or has one mask offset for all where ``outputs`` are nothing else.
        """
        check_optics(path, forward)
        spec = read_spec(path)
        if outputs.modes is not None and outputs.modes != spec.mode_set:
            raise InputError(f"{path} holds the modes {spec.mode_set}, the weights predict {outputs.modes}")
        images, peak_waves = read_split(path, "test")
        moving = spec.mask_offset > 0 or outputs.modes is None
        offset = read_mask_offset(path, "test")[:limit].astype(np.float64) if moving else None
        simulator = Simulator(spec, forward)
        first = sum(spec.counts[:2])
        return cls(
            simulator,
            range(first, first + len(images[:limit])),
            torch.from_numpy(images[:limit]),
            peak_waves[:limit] / spec.mode_set.norms,
            offset,
            _held(simulator.model, spec, outputs),
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def model(self) -> ForwardModel:
        """The forward model with everything free that differs from image to image."""
        return self.simulator.model

    @property
    def still(self) -> bool:
        """Whether no image is displaced."""
        return bool(self.held[self.model.layout.shift].all())

    def counts(self, noise: NoiseSpec, seed: int, count: int | None = None) -> Tensor:
        """The first ``count`` images with noise, (count, 3, N, N); each one's depends on seed and place alone."""
        generator, noisy = torch.Generator(), torch.empty_like(self.images[:count])
        for place, image in enumerate(self.images[:count]):
            (image_seed,) = np.random.SeedSequence([seed, place]).generate_state(1).tolist()
            noisy[place] = add_noise(image, noise, generator.manual_seed(image_seed))
        return noisy

    def true_parameters(self, count: int) -> Tensor:
        """What the model's focus takes for the first images, (count, layout.focus.stop).

        A dataset does not store the shift that centered an image, but its description tells it by simulating again.
        Raises ``InputError`` where that gives other images, as for a dataset of a version that centered otherwise.
        """
        rows = self.rows[:count]
        drawn = torch.from_numpy(self.simulator.parameters[rows.start : rows.stop])
        placed = self.simulator.placed(drawn)
        with torch.no_grad():
            simulated = self.model.intensity(placed)
        difference = (simulated - self.images[:count]).flatten(1).norm(dim=1) / simulated.flatten(1).norm(dim=1)
        if float(difference.max()) > SAME_IMAGE_TOLERANCE:
            raise InputError("this version simulates other images than the dataset holds: make the dataset again")
        return placed


def _held(model: ForwardModel, spec: DatasetSpec, outputs: Outputs) -> Tensor:
    held = torch.zeros(len(model.layout), dtype=torch.bool)
    held[model.layout.shift] = not spec.centered and not any(spec.shift_nm)
    held[model.layout.modes] = not spec.range_peak_waves and outputs.modes is None
    return held
