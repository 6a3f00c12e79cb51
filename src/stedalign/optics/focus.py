"""The factored focus: many wavefronts of one beam to the intensity on fixed targets, by small matrix products.

Three facts make it fast. Written on a fixed grid of plane waves (``polar_grid``), all that mask and light do is one
complex number for each wave, and everything that moves the phase (modes, shifts of the picture) is linear: phase =
basis x parameters. The grid is symmetric about both axes, so the kernel from waves to samples splits into real
products of cosines and sines that need a quarter of the waves and of the samples. And the intensity is band-limited,
so the field is computed at few samples, from which the pixels follow by interpolation (``target_samples``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh
from torch import Tensor

from stedalign.optics.beam import Beam, Objective
from stedalign.optics.kernels import FieldKernels, times_i
from stedalign.optics.planning import SHARE, check_free, plan_waves
from stedalign.optics.polar_grid import PolarGrid
from stedalign.optics.pupil import Pupil, beam_parameter, plane_waves, sample_pupil
from stedalign.optics.target_samples import TargetSamples
from stedalign.optics.targets import Target
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]
SHIFT_AXES = ("x", "y", "z")

NUMBERS_AT_ONCE = 1_000_000
"""Numbers of one kind that are computed together: fewer keep two cores waiting for each other, more leave the cache."""
MOVING_AT_ONCE = 64
"""Beams of their own that are computed together, since the rule around each one's core has thousands of numbers."""


class Focus(torch.nn.Module):
    """Intensity of one beam's focus on fixed targets, for batches of wavefronts.

    Built once from the optics, in float64; then differentiable, batched, on any device and, with ``.float()``, in
    float32, several times faster and good to about 1e-6. Intensities are relative to the crest (maximum over all
    pixels) of the unaberrated focus.
    """

    basis: Tensor
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
        tolerance: float = 1e-5,
        strength_waves: float = 0.35,
    ) -> None:
        """Plan the focus on ``targets`` (see ``optics.targets``).

        ``free`` names those of ``pupil.BEAM_PARAMETERS`` that differ between samples, each with the largest deviation
        from the beam's own value that is expected. Nodes and samples are chosen so that the relative L2 error of the
        intensity on each target stays below ``tolerance`` for wavefronts of up to ``strength_waves`` rms on ``modes``
        and beams within those deviations (stronger ones lose accuracy slowly). Raises ``ValueError`` where that takes
        more nodes than is sensible, and for free parameters of a beam with an overlay.
        """
        super().__init__()
        self.modes = modes
        self.free = tuple(free or {})
        self.objective, self.beam = objective, beam
        if not targets:
            raise ValueError("a focus needs a target")
        if not 1e-9 <= tolerance < 1:
            raise ValueError(f"a tolerance must lie between 1e-9 and 1, got {tolerance}")
        check_free(beam, free or {})
        self.targets = torch.nn.ModuleList(
            TargetSamples(target, objective, beam.wavelength_nm, SHARE * tolerance) for target in targets
        )
        points = np.concatenate([samples.points for samples in self._samples])
        self.plan = plan_waves(objective, beam, modes, points, free or {}, strength_waves, tolerance)
        self.grid = PolarGrid(objective, *self.plan.grid)
        x, y = self.grid.pupil_points
        k = objective.wavenumber(beam.wavelength_nm) * self.grid.direction
        # The mean of kz only turns the phase of whole planes.
        kappa = k - np.array([0.0, 0.0, (k[:, 2].max() + k[:, 2].min()) / 2])
        amplitude, power = self._beam_on_the_grid()
        beads = _coherent_modes(k, self.grid.area, bead_diameter_nm / 2, tolerance)
        channels = (amplitude[None] * beads[:, None]).reshape(-1, len(k))
        self.pupil = Pupil(x=x, y=y, k=k, amplitude=amplitude, power=power)
        """The beam on the grid of plane waves, the components of an overlay one after the other."""

        basis = np.concatenate([2 * np.pi * modes.polynomials(x, y), -kappa], axis=1)
        self.register_buffer("basis", torch.from_numpy(basis))
        self.register_buffer("beads", torch.from_numpy(beads))
        self.register_buffer("channels", torch.from_numpy(np.stack([channels.real, channels.imag])))
        self.kernels = FieldKernels(kappa, self._samples)
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        ideal = self(self.rest[None])
        self.scale.fill_(1 / float(torch.cat(ideal, dim=-1).max()))
        # Into the waves, which are few.
        self.beads *= self.scale.sqrt()
        self.channels *= self.scale.sqrt()

    @property
    def nodes(self) -> int:
        """How many plane waves the plan uses."""
        return len(self.grid)

    @property
    def rest(self) -> Tensor:
        """Parameters (modes + 3 + free,) of the unaberrated focus of the beam as it is."""
        own = [beam_parameter(self.beam, name) for name in self.free]
        return torch.tensor([0.0] * (len(self.modes) + 3) + own, dtype=self.basis.dtype, device=self.basis.device)

    def forward(self, parameters: Tensor) -> list[Tensor]:
        """Intensity on each target, shapes (B, pixels), for ``parameters`` (B, modes + 3 + free).

        The parameters are the modes' coefficients in rms waves, the shift of the picture along x, y, z in nm, and
        then the values of the free beam parameters.
        """
        parameters = self._checked(parameters)
        chunks = parameters.split(self._at_once(1))
        if len(chunks) == 1:
            return self._intensities(parameters)
        if torch.is_grad_enabled():
            parts = [self._intensities(part) for part in chunks]
            return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
        # Filled as it comes, so that a large batch is never held twice.
        found = [parameters.new_empty(len(parameters), samples.size) for samples in self._samples]
        places = zip(*(whole.split(len(chunks[0])) for whole in found), strict=True)
        for part, place in zip(chunks, places, strict=True):
            self._intensities(part, place)
        return found

    def jacobian(self, parameters: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Intensities (B, pixels) as from ``forward`` and their derivatives (B, parameters, pixels), per target.

        Analytic: a mode or a shift multiplies each plane wave by i times its row of the basis, a beam's parameter
        changes the wave's amplitude, and the field is linear in the waves.
        """
        parameters = self._checked(parameters)
        parts = [self._slopes(part) for part in parameters.split(self._at_once(1 + parameters.shape[1]))]
        values, derivatives = zip(*parts, strict=True)
        return (
            [torch.cat(pieces) for pieces in zip(*values, strict=True)],
            [torch.cat(pieces) for pieces in zip(*derivatives, strict=True)],
        )

    @property
    def _samples(self) -> list[TargetSamples]:
        return [samples for samples in self.targets if isinstance(samples, TargetSamples)]

    def _checked(self, parameters: Tensor) -> Tensor:
        expected = len(self.modes) + len(SHIFT_AXES) + len(self.free)
        if parameters.ndim != 2 or parameters.shape[1] != expected or len(parameters) == 0:
            raise ValueError(f"parameters of the shape (B, {expected}) are expected, got {tuple(parameters.shape)}")
        return parameters.to(self.basis)

    def _at_once(self, derivatives: int) -> int:
        widest = max(self.nodes, *(len(samples.points) * len(samples.parities) for samples in self._samples))
        some = max(1, NUMBERS_AT_ONCE // (2 * self.channels.shape[1] * derivatives * widest))
        return min(some, MOVING_AT_ONCE) if self.free else some

    def _intensities(self, parameters: Tensor, out: Sequence[Tensor] | None = None) -> list[Tensor]:
        fields = self.kernels(self._waves(parameters))
        found = []
        for index, (samples, images) in enumerate(zip(self._samples, fields, strict=True)):
            intensity = torch.stack([field.square().sum(1) for field in images], dim=1)
            found.append(samples.pixels(intensity, None if out is None else out[index]))
        return found

    def _slopes(self, parameters: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        count, size = parameters.shape
        waves = self._waves(parameters)
        steered = times_i(waves)[:, None] * self.basis.T[:, None, None]
        d_waves = torch.cat([steered, self._beam_slopes(parameters)], dim=1)
        fields, slopes = self.kernels(waves), self.kernels(d_waves.flatten(0, 1))
        values, derivatives = [], []
        for samples, images, d_images in zip(self._samples, fields, slopes, strict=True):
            intensity = torch.stack([field.square().sum(1) for field in images], dim=1)
            values.append(samples.pixels(intensity))
            rows = [
                2 * (field[:, None] * slope.unflatten(0, (count, size))).sum(2)
                for field, slope in zip(images, d_images, strict=True)
            ]
            derivatives.append(samples.pixels(torch.stack(rows, dim=2).flatten(0, 1)).unflatten(0, (count, size)))
        return values, derivatives

    def _waves(self, parameters: Tensor) -> Tensor:
        """The plane waves of each channel, (B, 2, channels, J) with real and imaginary part on the second axis."""
        steering = self.basis.shape[1]
        channels = self._channels(parameters[:, steering:]) if self.free else self.channels[None]
        return _turned(channels, parameters[:, :steering] @ self.basis.T)

    def _channels(self, beam: Tensor) -> Tensor:
        """Amplitudes (B, 2, channels, J) of the beams with the free parameters ``beam`` (B, free)."""
        changes = dict(zip(self.free, beam.unbind(1), strict=True))
        amplitude = self.grid.project(plane_waves(self.objective, self.beam, *self.plan.moving_rule, changes))
        channels = torch.view_as_real(amplitude).movedim(-1, 1)
        return (channels[:, :, None] * self.beads[:, None]).flatten(2, 3)

    def _beam_slopes(self, parameters: Tensor) -> Tensor:
        """Derivatives (B, free, 2, channels, J) of the waves with respect to the free beam parameters."""
        steering = self.basis.shape[1]
        if not self.free:
            return self.channels.new_zeros((len(parameters), 0, *self.channels.shape))
        phase, beam = parameters[:, :steering] @ self.basis.T, parameters[:, steering:]
        slopes = []
        for direction in torch.eye(len(self.free), dtype=beam.dtype, device=beam.device):
            with warnings.catch_warnings():
                # Forward differentiation compiles some of torch's own code in a way that torch has deprecated.
                warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
                along = torch.func.jvp(self._channels, (beam,), (direction.expand_as(beam),))
            slopes.append(_turned(along[1], phase))
        return torch.stack(slopes, dim=1)

    def _beam_on_the_grid(self) -> tuple[NDArray[np.complex128], float]:
        """Amplitudes (3 x components, J) of the beam as it is, and its power as of ``Pupil``."""
        found, powers = [], []
        for part in self.beam.components:
            powers.append(sample_pupil(self.objective, part, *self.plan.rule).power * self.beam.power_w / part.power_w)
            amplitude = self.grid.project(plane_waves(self.objective, part, *self.plan.rule))[0].numpy()
            found.append(amplitude * np.sqrt(powers[0] / powers[-1]))
        return np.concatenate(found), powers[0]


def _turned(channels: Tensor, phase: Tensor) -> Tensor:
    """exp(i phase) x channels, (B, 2, channels, J), for phases (B, J)."""
    cosine, sine = torch.cos(phase)[:, None], torch.sin(phase)[:, None]
    real, imag = channels.unbind(1)
    turned = torch.addcmul(cosine * real, sine, imag, value=-1), torch.addcmul(cosine * imag, sine, real)
    return torch.stack(turned, dim=1)


def _coherent_modes(k: Floats, area: Floats, radius_nm: float, tolerance: float) -> Floats:
    """The bead as a short sum of coherent pupil factors, shape (modes, J).

    A bead averages the intensity over its volume. Its effect on a pair of plane waves is the Fourier transform
    of the ball at k_j - k_l, a positive operator on the pupil whose leading eigenfunctions propagate one by one and
    add as intensities (the coherent-mode expansion, Wolf 1982).
    """
    if radius_nm == 0:
        return np.ones((1, len(k)))
    q = radius_nm * np.linalg.norm(k[:, None] - k[None], axis=-1)
    small = q < 1e-2
    safe = np.where(small, 1.0, q)
    ball = np.where(small, 1 - q**2 / 10, 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3)
    root = np.sqrt(area)
    matrix = root[:, None] * ball * root
    total = (matrix**2).sum()
    for count in range(4, len(k), 4):
        power, vectors = eigsh(matrix, count, v0=root)
        order = np.argsort(power)[::-1]
        # Intensities add here, so the eigenvalues are already powers.
        left = total - np.cumsum(power[order] ** 2)
        if left[-1] <= max(tolerance**2, 1e-14) * total:
            needed = order[: int((left <= max(tolerance**2, 1e-14) * total).argmax()) + 1]
            return np.asarray((np.sqrt(power[needed]) * vectors[:, needed] / root[:, None]).T)
    raise ValueError(f"a bead of {2 * radius_nm:g} nm is too large for this engine")
