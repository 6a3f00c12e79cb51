"""The factored focus: many wavefronts of one beam to the intensity on fixed targets, by small matrix products.

Three facts make it fast. Written on a fixed grid of plane waves (``polar_grid``), all that mask and light do is one
complex number for each wave, and everything that moves the phase (modes, shifts of the picture) is linear: phase =
basis x parameters. The grid is symmetric about both axes, so the kernel from waves to samples splits into real
products of cosines and sines that need a quarter of the waves and of the samples. And the intensity is band-limited,
so the field is computed at few samples, from which the pixels follow by interpolation (``target_samples``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.optics.bead import Blur, coherent_factors
from stedalign.optics.beam import Beam, Objective
from stedalign.optics.kernels import FieldKernels, times_i
from stedalign.optics.moving_beam import MovingBeam
from stedalign.optics.planning import SHARE, check_free, plan_waves
from stedalign.optics.polar_grid import PolarGrid
from stedalign.optics.pupil import Pupil, beam_parameter, beam_power, plane_waves
from stedalign.optics.target_samples import TargetSamples
from stedalign.optics.targets import Target
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]
SHIFT_AXES = ("x", "y", "z")
BLUR = "blur_nm2"
PIXEL_ERRORS = tuple(f"pixel_error_{axis}" for axis in SHIFT_AXES)
PICTURE_PARAMETERS = (BLUR, *PIXEL_ERRORS)
"""What else may differ from one picture to the next: the variance of a Gaussian blur along each axis in nm^2, and by
which fraction the pixels along x, y, z are larger than the setup says."""

NUMBERS_AT_ONCE = 1_000_000
"""Numbers of one kind that are computed together: fewer keep two cores waiting for each other, more leave the cache."""


class Focus(torch.nn.Module):
    """Intensity of one beam's focus on fixed targets, for batches of wavefronts.

    Built once from the optics, in float64; then differentiable, batched, on any device and, with ``.float()``, in
    float32, several times faster and good to about 1e-6. Intensities are relative to the crest (maximum over all
    pixels) of the unaberrated focus.
    """

    basis: Tensor
    amplitude: Tensor
    channels: Tensor
    beads: Tensor
    scale: Tensor

    def __init__(
        self,
        objective: Objective,
        beam: Beam,
        modes: ModeSet,
        targets: Sequence[Target],
        *,
        bead_diameter_nm: float = 0.0,
        free: Mapping[str, float] | None = None,
        drifting: bool = False,
        tolerance: float = 1e-5,
        strength_waves: float = 0.35,
    ) -> None:
        """Plan the focus on ``targets`` (see ``optics.targets``).

        ``free`` names those of ``pupil.BEAM_PARAMETERS`` and ``PICTURE_PARAMETERS`` that differ between samples, each
        with the largest deviation from its own value that is expected; with ``drifting`` each target is shifted by
        itself, too. Nodes and samples are chosen so that the relative L2 error of the intensity on each target stays
        below ``tolerance`` for wavefronts of up to ``strength_waves`` rms on ``modes`` and beams within those
        deviations (stronger ones lose accuracy slowly). Raises ``ValueError`` where that takes more nodes than is
        sensible, for free parameters of a beam with an overlay, and for errors of the pixel size of targets that are no
        grids along x, y, z through the nominal focus.
        """
        super().__init__()
        self.modes = modes
        self.free = tuple(free or {})
        self.drifting = drifting
        self.objective, self.beam = objective, beam
        if not targets:
            raise ValueError("a focus needs a target")
        if not 1e-9 <= tolerance < 1:
            raise ValueError(f"a tolerance must lie between 1e-9 and 1, got {tolerance}")
        of_picture = {name: most for name, most in (free or {}).items() if name in PICTURE_PARAMETERS}
        of_beam = {name: most for name, most in (free or {}).items() if name not in PICTURE_PARAMETERS}
        self.of_beam, self.reach = tuple(of_beam), dict(free or {})
        """How far each free parameter may deviate."""
        check_free(beam, of_beam)
        _check_picture(of_picture)
        errors = [of_picture.get(name, 0.0) for name in PIXEL_ERRORS]
        self.targets = torch.nn.ModuleList(
            TargetSamples(target, objective, beam.wavelength_nm, SHARE * tolerance, errors) for target in targets
        )
        points = np.concatenate([samples.points for samples in self._samples])
        self.plan = plan_waves(objective, beam, modes, points, of_beam, strength_waves, tolerance)
        self.grid = PolarGrid(objective, *self.plan.grid)
        x, y = self.grid.pupil_points
        k = objective.wavenumber(beam.wavelength_nm) * self.grid.direction
        # The mean of kz only turns the phase of whole planes.
        kappa = k - np.array([0.0, 0.0, (k[:, 2].max() + k[:, 2].min()) / 2])
        amplitude, power = self._beam_on_the_grid()
        beads = coherent_factors(k, self.grid.area, bead_diameter_nm, tolerance)
        channels = (amplitude[None] * beads[:, None]).reshape(-1, len(k))
        self.moving: MovingBeam | None = None
        if of_beam:
            self.moving = MovingBeam(objective, beam, self.grid, self.plan.moving_rule, of_beam, self.plan.degree)
        self.pupil = Pupil(x=x, y=y, k=k, amplitude=amplitude, power=power)
        """The beam on the grid of plane waves, the components of an overlay one after the other."""

        basis = np.concatenate([2 * np.pi * modes.polynomials(x, y), -kappa], axis=1)
        self.register_buffer("basis", torch.from_numpy(basis))
        self.register_buffer("amplitude", torch.from_numpy(np.stack([amplitude.real, amplitude.imag])))
        self.register_buffer("beads", torch.from_numpy(beads))
        self.register_buffer("channels", torch.from_numpy(np.stack([channels.real, channels.imag])))
        groups = [[samples] for samples in self._samples] if drifting else [self._samples]
        self.kernels = torch.nn.ModuleList(FieldKernels(kappa, group) for group in groups)
        """One for the targets that share their waves."""
        self.blur: Blur | None = None
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        ideal = [
            samples.pixels(_intensity(images), errors=torch.zeros(1, 3, dtype=torch.float64))
            for samples, images in self._fields(self.channels[None], torch.zeros(1, self.steering, dtype=torch.float64))
        ]
        self.scale.fill_(1 / float(torch.cat(ideal, dim=-1).max()))
        # Into the waves, which are few.
        for part in (self.amplitude, self.channels, *([] if self.moving is None else [self.moving.series])):
            part *= self.scale.sqrt()
        if BLUR in of_picture:
            self.blur = Blur(k, self.grid.area, bead_diameter_nm, tolerance, of_picture[BLUR])

    @property
    def nodes(self) -> int:
        """How many plane waves the plan uses."""
        return len(self.grid)

    @property
    def steering(self) -> int:
        """The parameters that turn the phases of the waves: modes, shifts, and where they drift those of each target.

        The free ones follow after them.
        """
        return self.basis.shape[1] + len(SHIFT_AXES) * len(self.targets) * self.drifting

    @property
    def rest(self) -> Tensor:
        """Parameters (steering + free,) of the unaberrated focus of the beam as it is."""
        own = [beam_parameter(self.beam, name) if name in self.of_beam else 0.0 for name in self.free]
        return torch.tensor([0.0] * self.steering + own, dtype=self.basis.dtype, device=self.basis.device)

    def forward(self, parameters: Tensor, binning: int = 1) -> list[Tensor]:
        """Intensity on each target, shapes (B, pixels), for ``parameters`` (B, steering + free).

        The parameters are the modes' coefficients in rms waves, the shift of the picture along x, y, z in nm, where
        the targets drift three more for each of them, and then the values of the free parameters. A binned pixel is the
        mean of ``binning`` along each axis of its target.
        """
        parameters = self._checked(parameters)
        chunks = parameters.split(self._at_once(1))
        if len(chunks) == 1:
            return self._intensities(parameters, binning)
        if torch.is_grad_enabled():
            parts = [self._intensities(part, binning) for part in chunks]
            return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
        # Filled as it comes, so that a large batch is never held twice.
        found = [parameters.new_empty(len(parameters), samples.pixel_count(binning)) for samples in self._samples]
        places = zip(*(whole.split(len(chunks[0])) for whole in found), strict=True)
        for part, place in zip(chunks, places, strict=True):
            self._intensities(part, binning, place)
        return found

    def jacobian(self, parameters: Tensor, binning: int = 1) -> tuple[list[Tensor], list[Tensor]]:
        """Intensities (B, pixels) as from ``forward`` and their derivatives (B, parameters, pixels), per target.

        A mode or a shift multiplies each plane wave by i times its row of the basis, a free parameter changes the
        wave's amplitude or the place of the pixels, and the field is linear in the waves.
        """
        parameters = self._checked(parameters)
        parts = []
        for some in parameters.split(self._at_once(1 + parameters.shape[1])):
            free = some[:, self.steering :]
            channels = self._channels(free).expand(len(some), -1, -1, -1) if self.free else self.channels[None]
            parts.append(self._slopes(some, channels, self._channel_slopes(free), binning))
        values, derivatives = zip(*parts, strict=True)
        return (
            [torch.cat(pieces) for pieces in zip(*values, strict=True)],
            [torch.cat(pieces) for pieces in zip(*derivatives, strict=True)],
        )

    @property
    def _samples(self) -> list[TargetSamples]:
        return [samples for samples in self.targets if isinstance(samples, TargetSamples)]

    def _checked(self, parameters: Tensor) -> Tensor:
        expected = self.steering + len(self.free)
        if parameters.ndim != 2 or parameters.shape[1] != expected or len(parameters) == 0:
            raise ValueError(f"parameters of the shape (B, {expected}) are expected, got {tuple(parameters.shape)}")
        return parameters.to(self.basis)

    def _at_once(self, derivatives: int) -> int:
        widest = max(self.nodes, *(len(samples.points) * len(samples.parities) for samples in self._samples))
        factors = self.blur.basis if self.blur is not None else self.beads
        return max(1, NUMBERS_AT_ONCE // (2 * self.amplitude.shape[1] * len(factors) * derivatives * widest))

    def _intensities(self, parameters: Tensor, binning: int, out: Sequence[Tensor] | None = None) -> list[Tensor]:
        steering, free = parameters[:, : self.steering], parameters[:, self.steering :]
        errors, channels = self._pixel_errors(free), self._channels(free) if self.free else self.channels[None]
        return [
            samples.pixels(_intensity(images), None if out is None else out[index], errors, binning=binning)
            for index, (samples, images) in enumerate(self._fields(channels, steering))
        ]

    def _fields(self, channels: Tensor, steering: Tensor) -> Iterator[tuple[TargetSamples, list[Tensor]]]:
        """Each target with its field, as from ``FieldKernels``."""
        phase, shifts = self._phase(steering)
        groups = [[samples] for samples in self._samples] if self.drifting else [self._samples]
        for group, kernels, shift in zip(groups, self.kernels, shifts, strict=True):
            yield from zip(group, kernels(_turned(channels, phase + shift)), strict=True)

    def _phase(self, steering: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The phase (B, J) of the waves for all targets, and what drift adds for each group of them."""
        common = self.basis.shape[1]
        phase = steering[:, :common] @ self.basis.T
        if not self.drifting:
            return phase, [torch.zeros_like(phase[:1])]
        moved = self.basis[:, -len(SHIFT_AXES) :].T
        return phase, [drift @ moved for drift in steering[:, common:].split(len(SHIFT_AXES), dim=1)]

    def _slopes(
        self, parameters: Tensor, channels: Tensor, along: dict[str, Tensor], binning: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """``jacobian`` for channels (B, 2, channels, J) that the free parameters change ``along`` these."""
        count, common = len(parameters), self.basis.shape[1]
        errors = self._pixel_errors(parameters[:, self.steering :])
        phase, shifts = self._phase(parameters[:, : self.steering])
        groups = [[samples] for samples in self._samples] if self.drifting else [self._samples]
        values, derivatives = [], []
        for group, kernels, shift in zip(groups, self.kernels, shifts, strict=True):
            waves = _turned(channels, phase + shift)
            steered = times_i(waves)[:, None] * self.basis.T[:, None, None]
            changed = [_turned(change, phase + shift)[:, None] for change in along.values()]
            d_waves = torch.cat([steered, *changed], dim=1)
            size = d_waves.shape[1]
            for samples, images, d_images in zip(group, kernels(waves), kernels(d_waves.flatten(0, 1)), strict=True):
                intensity = _intensity(images)
                values.append(samples.pixels(intensity, errors=errors, binning=binning))
                rows = [
                    2 * (field[:, None] * slope.unflatten(0, (count, size))).sum(2)
                    for field, slope in zip(images, d_images, strict=True)
                ]
                own = None if errors is None else errors.repeat_interleave(size, dim=0)
                pixels = samples.pixels(torch.stack(rows, dim=2).flatten(0, 1), errors=own, binning=binning)
                found = pixels.unflatten(0, (count, size))
                parts = list(found[:, :common].split([common - len(SHIFT_AXES), len(SHIFT_AXES)], dim=1))
                if self.drifting:
                    mine = len(values) - 1
                    parts += [
                        parts[1] if index == mine else torch.zeros_like(parts[1]) for index in range(len(self.targets))
                    ]
                changes = iter(found[:, common:].unbind(1))
                parts += [
                    samples.pixels(intensity, errors=errors, slope=PIXEL_ERRORS.index(name), binning=binning)[:, None]
                    if name in PIXEL_ERRORS
                    else next(changes)[:, None]
                    for name in self.free
                ]
                derivatives.append(torch.cat(parts, dim=1))
        return values, derivatives

    def _pixel_errors(self, free: Tensor) -> Tensor | None:
        """The errors (B, 3) of the pixel size along x, y, z, or None where they are fixed."""
        if not any(name in PIXEL_ERRORS for name in self.free):
            return None
        none = free.new_zeros(len(free))
        given = dict(zip(self.free, free.unbind(1), strict=True))
        return torch.stack([given.get(name, none) for name in PIXEL_ERRORS], dim=1)

    def _channels(self, free: Tensor) -> Tensor:
        """Amplitudes (B, 2, channels, J) of the waves for free parameters (B, free), before they are steered."""
        return _each(self._amplitude(free), self._factors(free))

    def _amplitude(self, free: Tensor) -> Tensor:
        """(B, 2, components, J)"""
        return self.amplitude[None] if self.moving is None else self.moving(free[:, self._beam_columns])

    def _factors(self, free: Tensor) -> Tensor:
        """What bead and blur make of the waves, (B, factors, J)."""
        return self.beads[None] if self.blur is None else self.blur(free[:, self.free.index(BLUR)]).to(self.basis)

    def _channel_slopes(self, free: Tensor) -> dict[str, Tensor]:
        """Derivatives (B, 2, channels, J) of ``_channels`` with respect to those free parameters that change them."""
        found: dict[str, Tensor] = {}
        if self.moving is not None:
            slopes = self.moving.slopes(free[:, self._beam_columns])
            factors = self._factors(free)
            found |= {name: _each(slope, factors) for name, slope in zip(self.of_beam, slopes.unbind(1), strict=True)}
        if self.blur is not None:
            change = self.blur.slope(free[:, self.free.index(BLUR)]).to(self.basis)
            found[BLUR] = _each(self._amplitude(free), change)
        return {name: found[name] for name in self.free if name in found}

    @property
    def _beam_columns(self) -> list[int]:
        return [self.free.index(name) for name in self.of_beam]

    def _beam_on_the_grid(self) -> tuple[NDArray[np.complex128], float]:
        """Amplitudes (3 x components, J) of the beam as it is, and its power as of ``Pupil``."""
        found, powers = [], []
        for part in self.beam.components:
            powers.append(beam_power(self.objective, part, *self.plan.rule) * self.beam.power_w / part.power_w)
            amplitude = self.grid.project(plane_waves(self.objective, part, *self.plan.rule))[0].numpy()
            found.append(amplitude * np.sqrt(powers[0] / powers[-1]))
        return np.concatenate(found), powers[0]


def _each(amplitude: Tensor, factors: Tensor) -> Tensor:
    """Every amplitude (B, 2, components, J) times every factor (B, factors, J): (B, 2, components x factors, J)."""
    return (amplitude[:, :, None] * factors[:, None, :, None]).flatten(2, 3)


def _turned(channels: Tensor, phase: Tensor) -> Tensor:
    """exp(i phase) x channels, (B, 2, channels, J), for phases (B, J)."""
    cosine, sine = torch.cos(phase)[:, None], torch.sin(phase)[:, None]
    real, imag = channels.unbind(1)
    turned = torch.addcmul(cosine * real, sine, imag, value=-1), torch.addcmul(cosine * imag, sine, real)
    return torch.stack(turned, dim=1)


def _intensity(images: Sequence[Tensor]) -> Tensor:
    """Intensity (B, mirror images, P) of fields (B, 2 x channels, P)."""
    return torch.stack([field.square().sum(1) for field in images], dim=1)


def _check_picture(free: Mapping[str, float]) -> None:
    """Raise ``ValueError`` for free parameters of the picture beyond what the series follow."""
    for name, most in free.items():
        limit = 1e4 if name == BLUR else 0.3
        if not 0 < most <= limit:
            raise ValueError(f"the largest deviation of {name} must lie between 0 and {limit:g}, got {most:g}")
