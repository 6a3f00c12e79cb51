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
from stedalign.focusing.focus import BLUR, PIXEL_ERRORS, SHIFT_AXES, Focus
from stedalign.focusing.pupil_quadrature import beam_parameter
from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES, normalize
from stedalign.networks.outputs import OFFSET_NAMES, Outputs
from stedalign.optics.targets import section
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
        free, strength = _free(spec, forward), STRENGTH_PER_PEAK_WAVES * spec.peak_waves
        if outputs.mask_offset and OFFSET_NAMES[0] not in free:
            raise InputError("this setup's mask has no offset to learn: choose a network that does not predict it")
        self.shape = (stack, sampling.samples, sampling.samples) if stack else (len(PLANES), *2 * (sampling.samples,))
        x, y, z = sampling.pixel_nm
        pitch = z * sampling.samples / max(stack, 1)
        targets = (
            [section("zyx", self.shape, (pitch, y, x), integrate=sampling.integrate)] if stack else sampling.targets()
        )
        self.focus = Focus(
            forward.objective,
            forward.beam,
            modes,
            targets,
            bead_diameter_nm=forward.bead.diameter_nm,
            free=free,
            drifting=spec.drift_nm > 0 and not stack,
            tolerance=TOLERANCE,
            strength_waves=strength,
        ).float()
        self.plain = ForwardModel(forward, modes, tolerance=CENTERING_TOLERANCE, strength_waves=strength)

    def to(self, device: torch.device) -> SimulatedImages:
        """Simulate there from now on; what is drawn stays the same."""
        self.focus.to(device)
        self.plain.to(device)
        return self

    @torch.no_grad()
    def draw(self, count: int, generator: Generator) -> Batch:
        """``count`` images (count, 3, n, n) relative to the unaberrated crest, and their labels."""
        parameters = self._parameters(count, generator).to(self.focus.scale)
        parameters[:, self.plain.shift] += self._centering(parameters)
        pixels = torch.cat(self.focus(parameters), dim=1).unflatten(1, self.shape)
        images = functional.avg_pool2d(pixels, self.binning)
        return images, self._labels(parameters)

    def _parameters(self, count: int, generator: Generator) -> Tensor:
        """Of the focus: (count, steering + free)."""
        spec, modes, beam = self.spec, self.focus.modes, self.forward.beam

        def normal(*shape: int) -> Tensor:
            return torch.randn(count, *shape, generator=generator)

        def uniform(least: float = -1.0) -> Tensor:
            return least + (1 - least) * torch.rand(count, 1, generator=generator)

        peak_waves = normal(len(modes)) * uniform(0.0) * spec.peak_waves
        parts = [peak_waves / torch.tensor(modes.norms), normal(3) * spec.shift_nm]
        if self.focus.drifting:
            parts.append(normal(3 * len(PLANES)) * spec.drift_nm)
        size, phase = np.pi / 180 * spec.ellipticity_deg * uniform(0.0), np.pi * uniform()
        leak = {"leak_real": torch.tan(size) * torch.cos(phase), "leak_imaginary": torch.tan(size) * torch.sin(phase)}
        for name, most in _free(spec, self.forward).items():
            if name == BLUR:
                parts.append((uniform(0.0) * most**0.5) ** 2)
            elif name in leak:
                parts.append(leak[name])
            elif name in PIXEL_ERRORS:
                parts.append(uniform() * most)
            elif name == "taper":
                parts.append((beam_parameter(beam, name) + uniform() * most).abs())
            else:
                parts.append(beam_parameter(beam, name) + uniform() * most)
        return torch.cat(parts, dim=1).float()

    def _centering(self, parameters: Tensor) -> Tensor:
        """The shift (B, 3) in nm that takes the center of mass to the middle, about, as the stage does."""
        plain, pixel_nm = self.plain, torch.tensor(self.forward.sampling.pixel_nm).to(parameters)
        moved = parameters[:, : plain.shift.stop].clone()
        moved[:, plain.shift] = 0
        for _ in range(CENTERING_STEPS):
            moved[:, plain.shift] -= center_of_mass_px(plain.intensity(moved)) * pixel_nm
        return moved[:, plain.shift]

    def _labels(self, parameters: Tensor) -> Tensor:
        modes, shift, steering = self.focus.modes, self.plain.shift, self.focus.steering
        labels = []
        if self.outputs.modes is not None:
            labels.append(parameters[:, : len(modes)] * torch.tensor(modes.norms).to(parameters))
        if self.outputs.mask_offset:
            labels.append(parameters[:, [steering + self.focus.free.index(name) for name in OFFSET_NAMES]])
        if self.outputs.shift:
            found = parameters[:, shift].clone()
            if self.focus.drifting:
                drift = parameters[:, shift.stop : steering].unflatten(1, (len(PLANES), 3))
                for index, axis in enumerate(SHIFT_AXES):
                    found[:, index] += drift[:, [axis in plane for plane in PLANES], index].mean(1)
            labels.append(found)
        return torch.cat(labels, dim=1)


def _free(spec: SimulationSpec, forward: ForwardSpec) -> dict[str, float]:
    """What differs from image to image, with the largest deviation; less what this setup does not have."""
    free = {BLUR: spec.blur_nm**2} | dict.fromkeys(PIXEL_ERRORS, spec.pixel_error)
    if forward.beam.overlay is None:
        free |= {"taper": spec.taper} | dict.fromkeys(("fill_center_x", "fill_center_y"), spec.fill_center)
        if forward.beam.pattern.can_move:
            free |= dict.fromkeys(OFFSET_NAMES, spec.mask_offset)
        free |= dict.fromkeys(("leak_real", "leak_imaginary"), math.tan(math.radians(spec.ellipticity_deg)))
    return {name: most for name, most in free.items() if most > 0}


def add_counts(images: Tensor, spec: SimulationSpec, binning: int, generator: Generator) -> Tensor:
    """Counts of images (B, 3, n, n), each with its own light and background; a binned pixel holds the sum of its own.

    Sums of Poisson counts are Poisson counts.
    """
    shape = (len(images), 1, 1, 1)
    random = torch.rand(2, *shape, generator=generator).to(images)
    least, most = spec.photons
    photons = least * (most / least) ** random[0]
    background = spec.background[0] + (spec.background[1] - spec.background[0]) * random[1]
    expected = (images + background).clamp_min(0) * photons * binning**2
    if expected.device != generator.device:
        # A device draws with a generator of its own, which the given one starts.
        seed = int(torch.randint(2**62, (1,), generator=generator))
        generator = Generator(expected.device).manual_seed(seed)
    return torch.poisson(expected, generator)


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
        spec, source = self.source.spec, self.source
        for _ in range(len(self)):
            images, labels = self._renewed()
            rows = torch.randint(len(images), (self.size,), generator=self.generator).to(images.device)
            noisy = add_counts(images[rows], spec, source.binning, self.generator)
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
    generator, batches = Generator().manual_seed(seed), -(-count // batch_size)
    found = []
    for index in range(batches):
        images, labels = source.draw(count * (index + 1) // batches - count * index // batches, generator)
        found.append((normalize(add_counts(images, source.spec, source.binning, generator)), labels))
    return found
