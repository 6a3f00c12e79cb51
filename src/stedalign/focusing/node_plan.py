"""How many nodes an accuracy takes: measured for the optics at hand, not guessed.

``plan_waves`` tries rules around the mask's core, grids of plane waves and series in the mask's offset, from coarse to
fine, on the wavefronts and beams that need the most (``_Trials``), and returns the fewest that do (``NodePlan``).
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.focusing.beam_family import BeamFamily
from stedalign.focusing.pupil_quadrature import PlaneWaves, plane_waves
from stedalign.focusing.wave_grid import WaveGrid, moments
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import HALVES_OFFSETS, MASK_OFFSETS, nominal
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]
Nodes = tuple[int, int]
Moments = list[Tensor]

RULES: tuple[Nodes, ...] = (16, 32), (24, 48), (36, 72), (54, 108), (80, 160), (120, 240), (180, 360), (270, 540)
WIDEST_GRIDS: tuple[Nodes, ...] = (64, 192), (128, 384)
DEGREES = range(4, 25, 2)
ENOUGH = 0.4
"""Part of the tolerance within which the series of a family of beams may fail, in its farthest corner."""
SHARE = 0.1
"""Part of the tolerance that each choice may use up."""


@dataclass(frozen=True)
class NodePlan:
    """Numbers of nodes, each as (radial, azimuthal)."""

    grid: Nodes
    """Of the grid of plane waves."""
    rule: Nodes
    """Of the rule around the mask's core with which a beam is integrated once."""
    family_rule: Nodes
    """Of that rule where beams differ from sample to sample."""
    degree: int = 0
    """Of the series in the offset of their masks."""


def plan_waves(
    objective: Objective,
    beam: Beam,
    modes: ModeSet,
    points_nm: Float[Floats, "points 3"],
    free: Mapping[str, float],
    strength_waves: float,
    tolerance: float,
) -> NodePlan:
    """The fewest nodes that meet the tolerance on some of the points, for strong wavefronts and displaced beams.

    They are measured against a rule that itself agrees with a coarser one. Raises ``InputError`` where no light reaches
    the points, and where the finest rule or grid is not enough; warns where a map from a file is too rough.
    """
    if not 0 <= strength_waves < np.inf:
        raise InputError(f"a wavefront's strength must be a positive number of waves, got {strength_waves}")
    trials = _Trials(objective, beam, modes, points_nm, free, strength_waves)
    too_much = (
        f"a field that reaches {np.abs(points_nm).max():.0f} nm from the focus is too wide, or a wavefront of "
        f"{strength_waves:g} waves too strong, for a tolerance of {tolerance:g}: take fewer or smaller pixels"
    )
    rule, reference = _converged_rule(trials, tolerance, too_much)
    grid, error = _fewest_waves(trials, rule, reference, SHARE * tolerance, too_much)
    if not free:
        return NodePlan(grid, rule, rule)
    family_rule = _coarsest_rule(trials, rule, grid, reference, error + SHARE * tolerance)
    return NodePlan(grid, rule, family_rule, _lowest_degree(trials, family_rule, grid, reference, tolerance))


class _Trials:
    """What numbers of nodes are tried on: some points, wavefronts that need the most, beams at their limits."""

    def __init__(
        self,
        objective: Objective,
        beam: Beam,
        modes: ModeSet,
        points_nm: Floats,
        free: Mapping[str, float],
        strength_waves: float,
    ) -> None:
        generator = np.random.default_rng(0)
        extremes = np.concatenate([points_nm.argmin(axis=0), points_nm.argmax(axis=0)])
        self.points = points_nm[np.concatenate([extremes, generator.integers(len(points_nm), size=60)])]
        self.objective, self.beam, self.modes, self.free = objective, beam, modes, free
        self.coefficients = strength_waves * _test_wavefronts(modes, generator)
        self.beams = list(_test_beams(beam, free, generator))

    @property
    def are_rough(self) -> bool:
        """Whether a beam is rougher than the rule knows, which then converges slowly.

        Maps from files, light with a singularity beside the mask's core, and evanescent waves are.
        """
        return self.objective.has_evanescent_waves or any(
            part.pattern.is_rough
            or part.polarization.kind == "file"
            or (part.polarization.kind != "uniform" and (any(part.pattern.core) or bool(self.free)))
            for part, _ in self.beams
        )

    def waves(self, rule: Nodes) -> list[PlaneWaves]:
        return [plane_waves(self.objective, part, *rule, changes) for part, changes in self.beams]

    def moments(self, rule: Nodes, grid: Nodes) -> list[Moments]:
        """What a grid needs of each beam."""
        return [moments(part, self.objective, 2 * grid[0], grid[1] // 2 + 1) for part in self.waves(rule)]

    def by_rule(self, rule: Nodes) -> list[Floats]:
        """The intensity (wavefronts, points) of each beam as the sum of the rule's waves."""
        sine = self.objective.sine
        return [
            self._intensity(
                part.x[0],
                part.y[0],
                torch.stack([sine * part.q_x[0], sine * part.q_y[0], part.cosine[0]], dim=-1),
                part.amplitude[0],
            )
            for part in self.waves(rule)
        ]

    def on_grid(self, grid: Nodes, beams: Sequence[Moments]) -> list[Floats]:
        """The same from the waves of a grid."""
        waves = WaveGrid(self.objective, *grid)
        return [self._on_waves(waves, waves.from_moments(part)[0]) for part in beams]

    def by_family(self, rule: Nodes, grid: Nodes, degree: int) -> list[Floats]:
        """The same from a series in what is free, of the beams at their limits."""
        waves = WaveGrid(self.objective, *grid)
        images = []
        for part, changes in self.beams:
            if changes is None:
                # Its like come after it.
                family = BeamFamily(self.objective, part, waves, rule, self.free, degree)
            else:
                real, imaginary = family(torch.stack(list(changes.values()), dim=1))[0].unbind(0)
                images.append(self._on_waves(waves, torch.complex(real, imaginary)))
        return images

    def at_limits(self, images: Sequence[Floats]) -> list[Floats]:
        """Those of the beams at their limits among images of all beams."""
        return [image for (_, changes), image in zip(self.beams, images, strict=True) if changes is not None]

    def _on_waves(self, waves: WaveGrid, amplitude: Tensor) -> Floats:
        x, y = (torch.from_numpy(part) for part in waves.pupil_points)
        return self._intensity(x, y, torch.from_numpy(waves.direction), amplitude)

    def _intensity(self, x: Tensor, y: Tensor, direction: Tensor, amplitude: Tensor) -> Floats:
        """(wavefronts, points) for one beam; x, y (J,), direction (J, 3), amplitude (3, J)."""
        k = self.objective.wavenumber(self.beam.wavelength_nm) * direction.numpy()
        kernel = np.exp(1j * (k @ self.points.T))
        phases = 2 * np.pi * self.coefficients @ self.modes.polynomials(x.numpy(), y.numpy()).T
        fields = (amplitude.numpy() * np.exp(1j * phases)[:, None]) @ kernel
        return np.asarray((np.abs(fields) ** 2).sum(axis=1))


def _converged_rule(trials: _Trials, tolerance: float, too_much: str) -> tuple[Nodes, list[Floats]]:
    """The coarsest rule that a coarser one agrees with, and its images.

    Raises ``InputError``, saying ``too_much``, where none does, and where all is dark.
    """
    # A rule converges spectrally: with half as many nodes again the error is at least raised to the power of 3/2.
    enough = 0.3 * tolerance if trials.are_rough else max((0.1 * tolerance) ** (2 / 3), 1e-9)
    reference = trials.by_rule(RULES[0])
    if not all(part.any() for part in reference):
        raise InputError(
            "no light reaches the target: the beam lies beside the pupil, or the target far from the focus"
        )
    for rule in RULES[1:]:
        coarse, reference = reference, trials.by_rule(rule)
        if _error(coarse, reference) < enough:
            return rule, reference
    if not trials.are_rough:
        raise InputError(too_much)
    warnings.warn(
        "a map from a file, a singular polarization or a mismatch beyond the critical angle is too rough for a "
        f"tolerance of {tolerance:g}: errors of about {_error(coarse, reference):.1g} remain",
        stacklevel=4,
    )
    return rule, reference


def _fewest_waves(
    trials: _Trials, rule: Nodes, reference: Sequence[Floats], goal: float, too_much: str
) -> tuple[Nodes, float]:
    """The smallest grid that errs by less than ``goal``, and its error.

    Raises ``InputError``, saying ``too_much``, where the widest errs by more.
    """

    def error(grid: Nodes) -> float:
        return _error(trials.on_grid(grid, beams), reference)

    for widest in WIDEST_GRIDS:
        beams = trials.moments(rule, widest)
        if error(widest) < goal:
            break
    else:
        raise InputError(too_much)
    radial = _fewest(_ladder(widest[0], 1), lambda count: error((count, widest[1])) < goal)
    azimuthal = _fewest(_ladder(widest[1], 4), lambda count: error((radial, count)) < goal)
    grid = radial, azimuthal
    return grid, error(grid)


def _coarsest_rule(trials: _Trials, rule: Nodes, grid: Nodes, reference: Sequence[Floats], goal: float) -> Nodes:
    """The rule with the fewest nodes, no more than ``rule`` has, with which the grid errs by less than ``goal``."""

    def good(coarser: Nodes) -> bool:
        return _error(trials.on_grid(grid, trials.moments(coarser, grid)), reference) < goal

    rays = _fewest(_ladder(rule[0], 1), lambda count: good((count, rule[1])))
    return rays, _fewest(_ladder(rule[1], 4), lambda count: good((rays, count)))


def _lowest_degree(trials: _Trials, rule: Nodes, grid: Nodes, reference: Sequence[Floats], tolerance: float) -> int:
    """The degree of the series in the mask's offset that beams at their limits need."""
    exact, error = trials.at_limits(reference), np.inf
    for degree in DEGREES if any(name in trials.free for name in (*MASK_OFFSETS, *HALVES_OFFSETS)) else (0,):
        lower, error = error, _error(trials.by_family(rule, grid, degree), exact)
        # What higher degrees do not mend is the envelope's doing.
        if error < ENOUGH * tolerance or error > 0.7 * lower:
            break
    return degree


def _test_beams(
    beam: Beam, free: Mapping[str, float], generator: np.random.Generator
) -> Iterator[tuple[Beam, dict[str, Tensor] | None]]:
    """The beam's components, and with free parameters some beams at the limits of what is expected."""
    for part in beam.components:
        yield part, None
        for _ in range(3 if free else 0):
            yield (
                part,
                {
                    name: torch.tensor(
                        [nominal(part, name) + generator.choice([-1.0, 1.0]) * most], dtype=torch.float64
                    )
                    for name, most in free.items()
                },
            )


def _test_wavefronts(modes: ModeSet, generator: np.random.Generator) -> Floats:
    """Coefficients (wavefronts, modes) of norm 1: every mode alone, some mixtures, and the steepest of many more.

    Single modes of high order need the most nodes, and among mixtures those that are steep at the pupil's edge.
    """
    mixtures = generator.normal(size=(200, len(modes)))
    mixtures /= np.linalg.norm(mixtures, axis=1, keepdims=True)
    phi = 2 * np.pi * np.arange(64) / 64
    edge, inside = (modes.polynomials(radius * np.cos(phi), radius * np.sin(phi)) for radius in (1.0, 0.99))
    slope = np.abs(mixtures @ (edge - inside).T).max(axis=1)
    return np.concatenate([np.eye(len(modes)), mixtures[:6], mixtures[np.argsort(slope)[-4:]]])


def _error(images: Sequence[Floats], reference: Sequence[Floats]) -> float:
    """Largest relative L2 error over beams and wavefronts; where one leaves the points dark, relative to the others."""
    worst = 0.0
    for ours, exact in zip(images, reference, strict=True):
        size = np.linalg.norm(exact, axis=1)
        worst = max(worst, float((np.linalg.norm(ours - exact, axis=1) / np.maximum(size, 0.01 * size.max())).max()))
    return worst


def _fewest(counts: Sequence[int], good: Callable[[int], bool]) -> int:
    """The first count that is good, found by halving since more nodes do no worse; the last one if none is."""
    place = bisect_left(counts[:-1], True, key=good)
    return counts[place]


def _ladder(finest: int, step: int) -> list[int]:
    """Numbers of nodes to try, from few to ``finest``: multiples of ``step``, ten percent apart at least."""
    counts = [6 * step]
    while counts[-1] < finest:
        counts.append(min(finest, max(counts[-1] + step, int(1.1 * counts[-1]) // step * step)))
    return counts
