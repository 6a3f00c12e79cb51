"""Images without end, simulated while training, of instruments that differ from the setup as real ones do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from stedalign.dataset.spec import check_moves
from stedalign.errors import InputError
from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.detector import expose_at_random
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES, VOLUME, Sampling, View, normalize
from stedalign.networks.outputs import Outputs
from stedalign.optics.deviations import within_room
from stedalign.optics.parameters import BLUR, LEAKS, MASK_OFFSETS, PARAMETERS, SHIFTS, free_deviations
from stedalign.training.batches import Batch
from stedalign.training.spec import SimulationSpec

TOLERANCE = 3e-3
STRENGTH_PER_PEAK_WAVES = 0.76
"""Rms waves that the optics are planned for, over the largest standard deviation of a coefficient. The median image
is then good to 1e-3, one in a hundred, of the strongest wavefronts, to about 1e-2."""
CENTERING_TOLERANCE, CENTERING_STEPS = 3e-2, 1


class SimulatedImages:
    """Noise-free images with labels, every one drawn afresh."""

    def __init__(
        self, spec: SimulationSpec, forward: ForwardSpec, outputs: Outputs, binning: int, stack: int = 0
    ) -> None:
        """Images come binned: the mean over ``binning`` pixels along each axis, along x and y where there is a
        ``stack`` of so many planes instead of three sections.

        Raises ``InputError`` where the images leave the field that the optics are planned for, where those cannot be
        planned, or where there is no mask offset to predict.
        """
        check_moves([math.hypot(spec.shift_nm, spec.drift_nm)] * 3, forward.sampling, "shift_nm and drift_nm")
        self.spec, self.forward, self.outputs, self.binning = spec, forward, outputs, binning
        sampling, modes = forward.sampling, spec.mode_set
        deviations = free_deviations(spec.model_dump(), forward.beam, detection=forward.detection)
        free = {name: min(most, PARAMETERS[name].largest(forward.beam)) for name, most in deviations.items()}
        free = within_room(forward.beam, free)
        if outputs.mask_offset and not any(name in free for name in MASK_OFFSETS):
            raise InputError("this setup's mask has no offset to learn: choose a network that does not predict it")
        strength = STRENGTH_PER_PEAK_WAVES * spec.peak_waves
        self.model = ForwardModel(
            forward,
            modes,
            view=_planes(sampling, stack) if stack else None,
            free=free,
            drifting=spec.drift_nm > 0 and not stack,
            tolerance=TOLERANCE,
            strength_waves=strength,
        )
        self.layout = self.model.layout
        self.plain = ForwardModel(forward, modes, tolerance=CENTERING_TOLERANCE, strength_waves=strength)

    def to(self, device: torch.device) -> SimulatedImages:
        """Simulate there from now on; what is drawn stays the same."""
        self.model.to(device)
        self.plain.to(device)
        return self

    @torch.no_grad()
    def draw(self, count: int, generator: Generator) -> Batch:
        """``count`` images (count, 3, n, n) relative to the unaberrated crest, and their labels."""
        parameters = self._parameters(count, generator).to(self.model.focus.scale)
        parameters[:, self.layout.shift] += self._centering(parameters)
        # The sections of an image, or the planes of its stack.
        pixels = self.model.intensity(parameters).flatten(1, -3)
        images = functional.avg_pool2d(pixels, self.binning)
        return images, self._labels(parameters)

    def exposed(self, images: Tensor, generator: Generator) -> Tensor:
        """Counts of such images, each with its own light and background."""
        return expose_at_random(images, self.spec.photons, self.spec.background, self.binning, generator)

    def _parameters(self, count: int, generator: Generator) -> Tensor:
        """Of all but the light: (count, layout.focus.stop)."""
        spec, layout = self.spec, self.layout
        drawn = _Drawn(count, generator)
        waves = drawn.normal(len(layout.mode_set)) * drawn.uniform(0.0) * spec.peak_waves
        waves = waves / torch.tensor(layout.mode_set.norms)
        shift = drawn.normal(len(SHIFTS)) * spec.shift_nm
        drift = None
        if layout.drifting:
            drift = drawn.normal(len(PLANES) * len(SHIFTS)).unflatten(1, (-1, len(SHIFTS))) * spec.drift_nm
        leaks = dict(zip(LEAKS, drawn.leak(spec.ellipticity_deg), strict=True))
        free = [
            leaks[name] if name in leaks else drawn.free(name, most, value)
            for (name, most), value in zip(self.model.reach.items(), layout.nominal, strict=True)
        ]
        none = waves.new_zeros(count, 0)
        return layout.pack_focus(waves, shift, drift, torch.cat([none, *free], dim=1)).float()

    def _centering(self, parameters: Tensor) -> Tensor:
        """The shift (B, 3) in nm that takes the center of mass to the middle, about, as the stage does."""
        plain, pixel_nm = self.plain.layout, torch.tensor(self.forward.sampling.pixel_nm).to(parameters)
        moved = plain.pack_focus(parameters[:, self.layout.modes])
        for _ in range(CENTERING_STEPS):
            moved[:, plain.shift] -= center_of_mass_px(self.plain.intensity(moved)) * pixel_nm
        return moved[:, plain.shift]

    def _labels(self, parameters: Tensor) -> Tensor:
        layout = self.layout
        labels = []
        if self.outputs.modes is not None:
            labels.append(parameters[:, layout.modes] * torch.tensor(layout.mode_set.norms).to(parameters))
        if self.outputs.mask_offset:
            labels.append(parameters[:, layout.mask_offset])
        if self.outputs.shift:
            shift = parameters[:, layout.shift].clone()
            if layout.drifting:
                drift = parameters[:, layout.drift].unflatten(1, (len(PLANES), len(SHIFTS)))
                for index, axis in enumerate("xyz"):
                    shift[:, index] += drift[:, [axis in plane for plane in PLANES], index].mean(1)
            labels.append(shift)
        return torch.cat(labels, dim=1)


def _planes(sampling: Sampling, count: int) -> View:
    """The field of the sections as ``count`` planes."""
    x, y, z = sampling.pixel_nm
    pixel_nm = x, y, z * sampling.samples / count
    shape = count, sampling.samples, sampling.samples
    return View(parts=(VOLUME,), shape=shape, pixel_nm=pixel_nm, integrate=sampling.integrate)


class _Drawn:
    """Random numbers for ``count`` images."""

    def __init__(self, count: int, generator: Generator) -> None:
        self.count, self.generator = count, generator

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator)

    def uniform(self, least: float = -1.0) -> Tensor:
        """(count, 1), between ``least`` and 1."""
        return least + (1 - least) * torch.rand(self.count, 1, generator=self.generator)

    def leak(self, ellipticity_deg: float) -> tuple[Tensor, Tensor]:
        """Real and imaginary part (count, 1) of light that loses up to so much ellipticity, at any azimuth."""
        size, azimuth = np.pi / 180 * ellipticity_deg * self.uniform(0.0), np.pi * self.uniform()
        return torch.tan(size) * torch.cos(azimuth), torch.tan(size) * torch.sin(azimuth)

    def free(self, name: str, most: float, nominal: float) -> Tensor:
        """A parameter (count, 1) up to ``most`` from its nominal value; of a blur its width is uniform."""
        if name == BLUR:
            return (self.uniform(0.0) * most**0.5) ** 2
        value = nominal + self.uniform() * most
        return value.abs() if PARAMETERS[name].lowest == 0 else value


@dataclass(eq=False)
class SimulatedBatches:
    """One epoch of normalized noisy images (B, 3, n, n) with labels; the next one goes on with other images.

    Images wait in a pool from which batches are drawn; with each batch the oldest of them are replaced, so many that
    an image is shown ``shown`` times on average, each time with other noise and other light. Of several processes each
    draws images of its own.
    """

    source: SimulatedImages
    batch_size: int
    """Images of all processes together."""
    seed: int
    world: int = 1
    """Processes."""

    def __post_init__(self) -> None:
        self.generator = Generator().manual_seed(self.seed)
        self.size = self.batch_size // self.world
        self.fresh = max(1, self.size // self.source.spec.shown)
        self.pool: Batch | None = None
        self.oldest = 0

    def __len__(self) -> int:
        return max(1, self.source.spec.epoch // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        source = self.source
        for _ in range(len(self)):
            images, labels = self._renewed()
            rows = torch.randint(len(images), (self.size,), generator=self.generator).to(images.device)
            noisy = source.exposed(images[rows], self.generator)
            # Whoever takes the batches may stop here, and goes on in the next epoch.
            yield normalize(noisy), labels[rows]

    def _renewed(self) -> Batch:
        """The pool, with its oldest images replaced."""
        if self.pool is None:
            count = -(-self.source.spec.pool // (self.fresh * self.world))
            drawn = [self.source.draw(self.fresh, self.generator) for _ in range(count)]
            images, labels = (torch.cat(parts) for parts in zip(*drawn, strict=True))
            self.pool = images, labels
        images, labels = self.pool
        new = slice(self.oldest, self.oldest + self.fresh)
        images[new], labels[new] = self.source.draw(self.fresh, self.generator)
        self.oldest = (self.oldest + self.fresh) % len(images)
        return self.pool


def fixed_batches(source: SimulatedImages, count: int, batch_size: int, seed: int) -> list[Batch]:
    """The same ``count`` noisy images for every epoch, in batches of about one size."""
    generator, parts = Generator().manual_seed(seed), -(-count // batch_size)
    batches = []
    for index in range(parts):
        images, labels = source.draw(count * (index + 1) // parts - count * index // parts, generator)
        batches.append((normalize(source.exposed(images, generator)), labels))
    return batches
