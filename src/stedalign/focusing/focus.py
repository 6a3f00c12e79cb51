"""The factored focus: many wavefronts of one beam to the intensity on fixed targets, by small matrix products.

Three facts make it fast. Written on a fixed grid of plane waves (``wave_grid``), all that mask and light do is one
complex number for each wave, and everything that moves the phase (modes, shifts of the image) is linear: phase =
basis x parameters. The grid is symmetric about both axes, so the kernel from waves to samples splits into real
products of cosines and sines that need a quarter of the waves and of the samples. And the intensity is band-limited,
so the field is computed at few samples, from which the pixels follow by interpolation (``target_samples``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.focusing.beam_family import BeamFamily, project_components
from stedalign.focusing.chebyshev import polynomials, slopes
from stedalign.focusing.coherent_modes import Blur, coherent_factors
from stedalign.focusing.field_kernels import FieldKernels, each, turned_by
from stedalign.focusing.index_layer import layer_phase
from stedalign.focusing.node_plan import SHARE, plan_waves
from stedalign.focusing.pupil_quadrature import Pupil, beam_power
from stedalign.focusing.sheared_samples import ShearedSamples, samples_of
from stedalign.focusing.target_samples import TargetSamples
from stedalign.focusing.wave_grid import WaveGrid
from stedalign.optics.beam import Beam
from stedalign.optics.deviations import check_free
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import (
    BEAD,
    BEAM_PARAMETERS,
    BLUR,
    EZ_WEIGHT,
    LAYER,
    PIXEL_ERRORS,
    SHEARS,
    SHIFTS,
    nominal,
)
from stedalign.optics.targets import Target
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]

SMEARS = BLUR, BEAD
"""What is told by ``Blur``."""
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
    along_z: Tensor
    beads: Tensor
    turning: Tensor
    columns: Tensor
    beam_columns: Tensor
    error_columns: Tensor
    largest_errors: Tensor
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

        ``free`` names those of ``parameters.BEAM_PARAMETERS`` and ``IMAGE_PARAMETERS`` that differ between samples,
        each with the largest deviation from its nominal value that is expected; with ``drifting`` each target is
        shifted by itself, too. Nodes and samples are chosen so that the relative L2 error of the intensity on each
        target stays below ``tolerance`` for wavefronts of up to ``strength_waves`` rms on ``modes`` and beams within
        those deviations (stronger ones lose accuracy slowly). Raises ``InputError`` where that takes more nodes than is
        sensible, for free parameters that the beam does not have, and for errors of the pixel size of targets that are
        no grids along x, y, z through the nominal focus.
        """
        super().__init__()
        if not targets:
            raise InputError("a focus needs a target")
        if not 1e-9 <= tolerance < 1:
            raise InputError(f"a tolerance must lie between 1e-9 and 1, got {tolerance}")
        self.objective, self.beam, self.modes, self.drifting = objective, beam, modes, drifting
        self.reach = dict(free or {})
        """How far each free parameter may deviate."""
        self.free = tuple(self.reach)
        check_free(beam, self.reach)
        self.targets = self._sampled(targets, SHARE * tolerance)
        points = np.concatenate([samples.points for samples in self._samples])
        self.plan = plan_waves(objective, beam, modes, points, self._beam_reach, strength_waves, tolerance)
        self.grid = WaveGrid(objective, *self.plan.grid)
        self.pupil = self._lit_pupil()
        """The beam on the grid of plane waves, its components one after the other."""
        self._factor_the_kernel()
        self._name_the_columns()
        k, area = self.pupil.k, self.grid.area
        self.register_buffer("beads", torch.from_numpy(coherent_factors(k, area, bead_diameter_nm, tolerance)))
        self._scale_to_the_crest()
        self.blur: Blur | None = None
        if any(name in self.reach for name in SMEARS):
            largest = [self.reach.get(name, 0.0) for name in SMEARS]
            self.blur = Blur(k, area, bead_diameter_nm, tolerance, *largest)

    @property
    def _beam_reach(self) -> dict[str, float]:
        """How far each free parameter of the beam may deviate."""
        return {name: most for name, most in self.reach.items() if name in BEAM_PARAMETERS}

    def _sampled(self, targets: Sequence[Target], tolerance: float) -> torch.nn.ModuleList:
        errors, shears = ([self.reach.get(name, 0.0) for name in names] for names in (PIXEL_ERRORS, SHEARS))
        return torch.nn.ModuleList(
            samples_of(target, self.objective, self.beam.wavelength_nm, tolerance, errors, shears) for target in targets
        )

    def _lit_pupil(self) -> Pupil:
        """The beam as it is, and where it may differ the family of its like, on the grid of plane waves."""
        x, y = self.grid.pupil_points
        k = self.objective.wavenumber(self.beam.wavelength_nm) * self.grid.direction
        plan, first = self.plan, self.beam.components[0]
        amplitude = project_components(self.objective, self.beam, self.grid, plan.rule)[0].numpy()
        power = beam_power(self.objective, first, *plan.rule) * self.beam.power_w / first.power_w
        self.register_buffer("amplitude", torch.from_numpy(np.stack([amplitude.real, amplitude.imag])))
        self.register_buffer("along_z", torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).repeat(len(amplitude) // 3))
        self.family: BeamFamily | None = None
        if reach := self._beam_reach:
            self.family = BeamFamily(self.objective, self.beam, self.grid, plan.family_rule, reach, plan.degree)
        return Pupil(x=x, y=y, k=k, amplitude=amplitude, power=power)

    def _factor_the_kernel(self) -> None:
        """The phases that the parameters turn, and the kernel from waves to samples as products."""
        k = self.pupil.k
        # The mean of kz only turns the phase of whole planes.
        kappa = k - np.array([0.0, 0.0, (k[:, 2].max() + k[:, 2].min()) / 2])
        basis = np.concatenate([2 * np.pi * self.modes.polynomials(self.pupil.x, self.pupil.y), -kappa], axis=1)
        if LAYER in self.free:
            layer = layer_phase(self.objective, self.grid, self.beam.wavelength_nm)
            basis = np.concatenate([basis, layer[:, None]], axis=1)
        self.register_buffer("basis", torch.from_numpy(basis))
        groups = [[samples] for samples in self._samples] if self.drifting else [self._samples]
        self.kernels = torch.nn.ModuleList(FieldKernels(kappa, basis, group) for group in groups)
        """One for the targets that share their waves."""

    def _name_the_columns(self) -> None:
        """Where which parameters stand; of beams and pixel errors counted from the first free one."""
        beam = list(self._beam_reach)
        changed = [name for name in (*beam, EZ_WEIGHT, BLUR, BEAD) if name in self.free]
        changing = [self.steering + self.free.index(name) for name in changed]
        turning = list(range(self._shifts.stop))
        if LAYER in self.free:
            turning.append(self.steering + self.free.index(LAYER))
        self.register_buffer("turning", torch.tensor(turning))
        """The parameters that turn the phases of the waves of all targets, in the order of the basis."""
        steered = [turning[index] for index in self._groups[0][1].order]
        self.register_buffer("columns", torch.tensor([*changing, *steered]))
        """The parameters that change the waves, in the order of ``FieldKernels.slopes``."""
        self.error_axes = [axis for axis, name in enumerate(PIXEL_ERRORS) if name in self.free]
        errors = [PIXEL_ERRORS[axis] for axis in self.error_axes]
        self.register_buffer("largest_errors", torch.tensor([self.reach[name] for name in errors], dtype=torch.float64))
        self.register_buffer("error_columns", torch.tensor([self.free.index(name) for name in errors]))
        self.register_buffer("beam_columns", torch.tensor([self.free.index(name) for name in beam]))

    def _scale_to_the_crest(self) -> None:
        """Make the crest of the unaberrated focus 1."""
        centered = {axis: polynomials(torch.zeros(1, dtype=torch.float64), self._terms) for axis in range(3)}
        phases = torch.zeros(1, len(self._groups), self.nodes, dtype=torch.float64)
        ideal = [
            samples.pixels(intensity, samples.interpolations(centered))
            for samples, intensity in self._at_samples(turned_by(self.amplitude[None, None], phases), self.beads[None])
        ]
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.scale.fill_(1 / float(torch.cat(ideal, dim=-1).max()))
        # Into the waves, which are few.
        for part in (self.amplitude, *([] if self.family is None else [self.family.series])):
            part *= self.scale.sqrt()

    @property
    def nodes(self) -> int:
        """How many plane waves the plan uses."""
        return len(self.grid)

    @property
    def steering(self) -> int:
        """The parameters that turn the phases of the waves: modes, shifts, and where they drift those of each target.

        The free ones follow after them.
        """
        return self._shifts.stop + len(SHIFTS) * len(self.targets) * self.drifting

    @property
    def _shifts(self) -> slice:
        """Where the shifts stand among the parameters, and in the basis."""
        return slice(len(self.modes), len(self.modes) + len(SHIFTS))

    @property
    def rest(self) -> Float[Tensor, " parameters"]:
        """Parameters (steering + free,) of the unaberrated focus of the beam as it is."""
        free = [nominal(self.beam, name) for name in self.free]
        return torch.tensor([0.0] * self.steering + free, dtype=self.basis.dtype, device=self.basis.device)

    def aberrated(self, waves: Float[Tensor, "images {len(self.modes)}"]) -> Float[Tensor, "images parameters"]:
        """Parameters (B, steering + free) of wavefronts (B, modes) in rms waves, of the beam as it is."""
        rest = self.rest[len(self.modes) :].expand(len(waves), -1)
        return torch.cat([waves.to(rest), rest], dim=1)

    def forward(self, parameters: Float[Tensor, "*shape"], binning: int = 1) -> list[Float[Tensor, "images _"]]:
        """Intensity on each target, shapes (B, pixels), for ``parameters`` (B, steering + free).

        The parameters are the modes' coefficients in rms waves, the shift of the image along x, y, z in nm, where
        the targets drift three more for each of them, and then the values of the free parameters. A binned pixel is the
        mean of ``binning`` along each axis of its target.
        """
        parameters = self._checked(parameters)
        chunks = parameters.split(self._at_once())
        if len(chunks) == 1:
            return self._intensities(parameters, binning)
        if torch.is_grad_enabled():
            parts = [self._intensities(part, binning) for part in chunks]
            return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
        # Filled as it comes, so that a large batch is never held twice.
        images = [parameters.new_empty(len(parameters), samples.pixel_count(binning)) for samples in self._samples]
        places = zip(*(whole.split(len(chunks[0])) for whole in images), strict=True)
        for part, place in zip(chunks, places, strict=True):
            self._intensities(part, binning, place)
        return images

    @torch.no_grad()
    def jacobian(
        self, parameters: Float[Tensor, "images parameters"], binning: int = 1
    ) -> tuple[list[Float[Tensor, "images _"]], list[Float[Tensor, "images parameters _"]]]:
        """Intensities (B, pixels) as from ``forward`` and their derivatives (B, parameters, pixels), per target.

        A mode or a shift multiplies each plane wave by i times its row of the basis, a free parameter changes the
        wave's amplitude or the place of the pixels, and the field is linear in the waves.
        """
        parameters = self._checked(parameters)
        count, pixels = len(parameters), [samples.pixel_count(binning) for samples in self._samples]
        values = [parameters.new_empty(count, size) for size in pixels]
        derivatives = [parameters.new_zeros(*parameters.shape, size) for size in pixels]
        at_once = self._at_once(1 + len(self.free), len(self.columns))
        for first in range(0, count, at_once):
            rows = slice(first, first + at_once)
            self._linearize(parameters[rows], binning, [part[rows] for part in values], [d[rows] for d in derivatives])
        return values, derivatives

    @property
    def _samples(self) -> list[TargetSamples]:
        return [samples for samples in self.targets if isinstance(samples, TargetSamples)]

    def _checked(self, parameters: Tensor) -> Tensor:
        expected = self.steering + len(self.free)
        if parameters.ndim != 2 or parameters.shape[1] != expected or len(parameters) == 0:
            raise InputError(f"parameters of the shape (B, {expected}) are expected, got {tuple(parameters.shape)}")
        return parameters.to(self.basis)

    def _at_once(self, waves: int = 1, derivatives: int = 0) -> int:
        """How many images are computed together, with so many waves of each and derivatives of their fields."""
        factors = self.blur.basis if self.blur is not None else self.beads
        at_samples = max(len(samples.points) * len(samples.parities) for samples in self._samples)
        widest = max(waves * self.nodes, (1 + derivatives) * at_samples)
        return max(1, NUMBERS_AT_ONCE // (2 * self.amplitude.shape[1] * len(factors) * widest))

    def _intensities(self, parameters: Tensor, binning: int, out: Sequence[Tensor] | None = None) -> list[Tensor]:
        free = parameters[:, self.steering :]
        amplitude, factors = self.amplitude[None], self.beads[None]
        if self.family is not None:
            amplitude = self.family(free.index_select(1, self.beam_columns))
        if EZ_WEIGHT in self.reach:
            amplitude = self._weighed(amplitude, self._ez_amplitude(free))
        if self.blur is not None:
            factors = self.blur(*self._given(free, SMEARS).unbind(1)).to(self.basis)
        turned = turned_by(amplitude[:, None], self._phases(parameters))
        seen = self._errors(free), binning, self._shears(free)
        return [
            samples.pixels(intensity, samples.interpolations(*seen), None if out is None else out[index])
            for index, (samples, intensity) in enumerate(self._at_samples(turned, factors))
        ]

    def _linearize(self, parameters: Tensor, binning: int, values: list[Tensor], derivatives: list[Tensor]) -> None:
        """Fill in what ``jacobian`` returns; derivatives that vanish are there already."""
        free = parameters[:, self.steering :]
        # The waves and after them those of their derivatives.
        amplitudes, factors = self.amplitude[None, None], self.beads[None, None]
        if self.family is not None:
            amplitudes = self.family.with_slopes(free.index_select(1, self.beam_columns))
        if EZ_WEIGHT in self.reach:
            weight = self._ez_amplitude(free)[:, None]
            along = amplitudes[:, :1] * (self.along_z[:, None] / (2 * weight))
            amplitudes = torch.cat([self._weighed(amplitudes, weight), along], dim=1)
        if self.blur is not None:
            smears = self._given(free, SMEARS).unbind(1)
            along_each = zip(SMEARS, self.blur.slopes(*smears), strict=True)
            changes = torch.stack([change for name, change in along_each if name in self.free], dim=1).to(self.basis)
            factors = self.blur(*smears).to(self.basis)[:, None].expand(-1, amplitudes.shape[1], -1, -1)
            factors = torch.cat([factors, changes], dim=1)
            amplitudes = torch.cat([amplitudes, amplitudes[:, :1].expand(-1, changes.shape[1], -1, -1, -1)], dim=1)
        turned = turned_by(amplitudes[:, None], self._phases(parameters)[:, :, None])
        errors, shears = self._errors(free, slope=True), self._shears(free)
        for index, (samples, along) in enumerate(self._at_samples(turned, factors, slope=True)):
            place, both = derivatives[index], samples.interpolations(errors, binning, shears)
            matrices = [matrix[: len(free)] for matrix in both]
            rows = samples.pixels(along.flatten(0, 1), matrices).unflatten(0, along.shape[:2])
            torch.div(rows[:, 0], 2, out=values[index])
            place.index_copy_(1, self.columns, rows[:, 1:])
            if self.drifting:
                drift = slice(len(SHIFTS) * index, len(SHIFTS) * (index + 1))
                place[:, self._shifts.stop :][:, drift] = place[:, self._shifts]
            for number, axis in enumerate(samples.axes):
                if axis in errors and axis in samples.pixel_axes:
                    changed = [*matrices[:number], both[number][len(free) :], *matrices[number + 1 :]]
                    column = self.steering + self.free.index(PIXEL_ERRORS[axis])
                    place[:, column] = samples.pixels(along[:, 0] / 2, changed)
            for axis, name in enumerate(SHEARS):
                if name in self.free and isinstance(samples, ShearedSamples):
                    leaning = [matrix[: len(free)] for matrix in samples.interpolations(errors, binning, shears, axis)]
                    column = self.steering + self.free.index(name)
                    place[:, column] = samples.pixels(along[:, 0] / 2, leaning) / self.reach[name]

    def _given(self, free: Tensor, names: Sequence[str]) -> Tensor:
        """The values (B, names) of these parameters, 0 where they are not free."""
        nothing = free.new_zeros(len(free))
        return torch.stack([free[:, self.free.index(name)] if name in self.free else nothing for name in names], 1)

    def _shears(self, free: Tensor) -> Tensor:
        """The shears along x and y over their largest values, (B, 2)."""
        return self._given(free, SHEARS) / torch.tensor([self.reach.get(name, 1.0) for name in SHEARS]).to(free)

    def _ez_amplitude(self, free: Tensor) -> Tensor:
        """What the detection leaves of the amplitude of Ez, (B, 1, 1, 1)."""
        # The tiny floor keeps the slope finite where nothing is left.
        return free[:, self.free.index(EZ_WEIGHT), None, None, None].clamp_min(1e-6).sqrt()

    def _weighed(self, amplitude: Tensor, weight: Tensor) -> Tensor:
        """Amplitudes (..., 2, rows, J) with those of Ez times ``weight``."""
        return amplitude * (1 + self.along_z[:, None] * (weight - 1))

    def _at_samples(
        self, turned: Tensor, factors: Tensor, *, slope: bool = False
    ) -> Iterator[tuple[TargetSamples, Tensor]]:
        """Each target with its intensity, or its ``slopes``, as from ``FieldKernels``.

        They come from waves (B, groups, ..., 2, components, J) times what bead and blur make of each of them,
        ``factors`` (B, ..., factors, J).
        """
        for index, (group, kernels) in enumerate(self._groups):
            waves = each(turned[:, index], factors)
            yield from zip(group, kernels.slopes(waves) if slope else kernels(waves), strict=True)

    def _phases(self, parameters: Tensor) -> Tensor:
        """The phases (B, groups, J) of the waves for each group of targets."""
        phase = (parameters.index_select(1, self.turning) @ self.basis.T)[:, None]
        if not self.drifting:
            return phase
        drifts = parameters[:, self._shifts.stop : self.steering].unflatten(1, (-1, len(SHIFTS)))
        return phase + drifts @ self.basis[:, self._shifts].T

    def _errors(self, free: Tensor, *, slope: bool = False) -> dict[int, Tensor]:
        """Polynomials (B, terms) in the errors of those pixel sizes that are free, along x (0), y (1) or z (2).

        With ``slope`` (2 x B, terms): their derivatives follow after them.
        """
        if not self.error_axes:
            return {}
        series = polynomials(free.index_select(1, self.error_columns) / self.largest_errors, self._terms)
        if slope:
            series = torch.cat([series, slopes(series) / self.largest_errors[:, None]])
        return dict(zip(self.error_axes, series.unbind(1), strict=True))

    @property
    def _groups(self) -> list[tuple[list[TargetSamples], FieldKernels]]:
        """The targets that share their waves, with their kernels."""
        groups = [[samples] for samples in self._samples] if self.drifting else [self._samples]
        kernels = [kernels for kernels in self.kernels if isinstance(kernels, FieldKernels)]
        return list(zip(groups, kernels, strict=True))

    @property
    def _terms(self) -> int:
        return max(samples.terms for samples in self._samples)
