"""How many nodes an accuracy takes: measured for the optics at hand, not guessed."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.focusing.beam_family import OFFSETS, MovingBeam
from stedalign.focusing.pupil_quadrature import BEAM_PARAMETERS, PlaneWaves, beam_parameter, plane_waves
from stedalign.focusing.wave_grid import PolarGrid, moments
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]
Nodes = tuple[int, int]

RULES: tuple[Nodes, ...] = (16, 32), (24, 48), (36, 72), (54, 108), (80, 160), (120, 240), (180, 360), (270, 540)
WIDEST_GRIDS: tuple[Nodes, ...] = (64, 192), (128, 384)
DEGREES = range(4, 25, 2)
ENOUGH = 0.4
"""Part of the tolerance within which the series of a moving beam may fail, in its farthest corner."""
FARTHEST_CORE = 0.8
"""Pupil radii: nearer to the edge the rays around the mask's core become too uneven for a rule of sensible size."""
SHARE = 0.1
"""Part of the tolerance that each choice may use up."""


@dataclass(frozen=True)
class Plan:
    """Numbers of nodes, each as (radial, azimuthal)."""

    grid: Nodes
    """Of the grid of plane waves."""
    rule: Nodes
    """Of the rule around the mask's core with which a beam is integrated once."""
    moving_rule: Nodes
    """Of that rule where beams differ from sample to sample."""
    degree: int = 0
    """Of the series in the offset of their masks."""


def check_free(beam: Beam, free: Mapping[str, float]) -> None:
    """Raise ``InputError`` for free parameters that a beam does not have, or that would take its mask's core astray."""
    unknown = [name for name in free if name not in BEAM_PARAMETERS]
    if unknown:
        raise InputError(f"no beam has a parameter {', '.join(unknown)}; known: {', '.join(BEAM_PARAMETERS)}")
    idle = [name for name in free if name.startswith("mask_offset") and not beam.pattern.can_move]
    if idle:
        raise InputError(f"{', '.join(idle)} would change nothing in this beam")
    if free and beam.overlay is not None:
        raise InputError("free beam parameters are not supported for a beam with an overlay")
    if any(not 0 < most < np.inf for most in free.values()):
        raise InputError("the largest deviation of a free beam parameter must be a positive number")
    farthest = math.hypot(*(abs(beam_parameter(beam, name)) + free.get(name, 0.0) for name in OFFSETS))
    if any(name in free for name in OFFSETS) and farthest >= _farthest_offset(beam):
        raise InputError(
            f"a mask offset of up to {farthest:.2g} pupil radii is too far; it must stay below "
            f"{_farthest_offset(beam):.2g}"
        )


def room_for_offsets(beam: Beam) -> float:
    """How far the offset of a beam's mask may deviate along x and y alike, in pupil radii; 0 where it may not."""
    x, y = (abs(beam_parameter(beam, name)) for name in OFFSETS)
    # Of (x + room)^2 + (y + room)^2 = limit^2 the positive root, and a little less.
    left = (0.99 * _farthest_offset(beam)) ** 2 - x**2 - y**2
    return 0.0 if left <= 0 else (math.sqrt((x + y) ** 2 + 2 * left) - x - y) / 2


def _farthest_offset(beam: Beam) -> float:
    return beam.stop_radius or FARTHEST_CORE


def plan_waves(
    objective: Objective,
    beam: Beam,
    modes: ModeSet,
    points_nm: Floats,
    free: Mapping[str, float],
    strength_waves: float,
    tolerance: float,
) -> Plan:
    """The fewest nodes that meet the tolerance on some of the points, for strong wavefronts and displaced beams.

    They are measured against a rule that itself agrees with a coarser one. Raises ``InputError`` where no light reaches
    the points, and where the finest rule or grid is not enough; warns where a map from a file is too rough.
    """
    generator = np.random.default_rng(0)
    extremes = np.concatenate([points_nm.argmin(axis=0), points_nm.argmax(axis=0)])
    points = points_nm[np.concatenate([extremes, generator.integers(len(points_nm), size=60)])]
    if not 0 <= strength_waves < np.inf:
        raise InputError(f"a wavefront's strength must be a positive number of waves, got {strength_waves}")
    coefficients = strength_waves * _test_wavefronts(modes, generator)
    beams = list(_test_beams(beam, free, generator))

    def waves(rule: Nodes) -> list[PlaneWaves]:
        return [plane_waves(objective, part, *rule, changes) for part, changes in beams]

    def intensity(x: Tensor, y: Tensor, direction: Tensor, amplitude: Tensor) -> Floats:
        """(wavefronts, points) for one beam; x, y (J,), direction (J, 3), amplitude (3, J)."""
        k = objective.wavenumber(beam.wavelength_nm) * direction.numpy()
        kernel = np.exp(1j * (k @ points.T))
        phases = 2 * np.pi * coefficients @ modes.polynomials(x.numpy(), y.numpy()).T
        fields = (amplitude.numpy() * np.exp(1j * phases)[:, None]) @ kernel
        return np.asarray((np.abs(fields) ** 2).sum(axis=1))

    def by_rule(rule: Nodes) -> list[Floats]:
        return [
            intensity(
                part.x[0],
                part.y[0],
                torch.stack([objective.sine * part.q_x[0], objective.sine * part.q_y[0], part.cosine[0]], dim=-1),
                part.amplitude[0],
            )
            for part in waves(rule)
        ]

    too_much = (
        f"a field that reaches {np.abs(points_nm).max():.0f} nm from the focus is too wide, or a wavefront of "
        f"{strength_waves:g} waves too strong, for a tolerance of {tolerance:g}: take fewer or smaller pixels"
    )
    # A rule converges spectrally: with half as many nodes again the error is at least raised to the power of 3/2. Only
    # maps from files, light with a singularity of its own and evanescent waves are rougher than the rule knows.
    rough = objective.has_evanescent_waves or any(
        part.pattern.is_rough
        or part.polarization.kind == "file"
        or (part.polarization.kind != "uniform" and (any(part.pattern.core) or bool(free)))
        for part, _ in beams
    )
    enough = 0.3 * tolerance if rough else max((0.1 * tolerance) ** (2 / 3), 1e-9)
    reference = by_rule(RULES[0])
    if not all(part.any() for part in reference):
        raise InputError(
            "no light reaches the target: the beam lies beside the pupil, or the target far from the focus"
        )
    for rule in RULES[1:]:
        coarse, reference = reference, by_rule(rule)
        if _error(coarse, reference) < enough:
            break
    else:
        if not rough:
            raise InputError(too_much)
        warnings.warn(
            "a map from a file, a singular polarization or a mismatch beyond the critical angle is too rough for a "
            f"tolerance of {tolerance:g}: errors of about {_error(coarse, reference):.1g} remain",
            stacklevel=3,
        )

    goal = SHARE * tolerance

    def on_grid(nodes: Nodes, found: Sequence[Sequence[Tensor]]) -> float:
        grid = PolarGrid(objective, *nodes)
        x, y = (torch.from_numpy(part) for part in grid.pupil_points)
        direction = torch.from_numpy(grid.direction)
        return _error([intensity(x, y, direction, grid.from_moments(part)[0]) for part in found], reference)

    for widest in WIDEST_GRIDS:
        found = [moments(part, objective, 2 * widest[0], widest[1] // 2 + 1) for part in waves(rule)]
        if on_grid(widest, found) < goal:
            break
    else:
        raise InputError(too_much)
    radial = _fewest(_ladder(widest[0], 1), lambda count: on_grid((count, widest[1]), found) < goal)
    azimuthal = _fewest(_ladder(widest[1], 4), lambda count: on_grid((radial, count), found) < goal)
    grid = radial, azimuthal
    if not free:
        return Plan(grid, rule, rule)
    floor = on_grid(grid, found)

    def moving(rule: Nodes) -> bool:
        coarser = [moments(part, objective, 2 * radial, azimuthal // 2 + 1) for part in waves(rule)]
        return on_grid(grid, coarser) < floor + goal

    rays = _fewest(_ladder(rule[0], 1), lambda count: moving((count, rule[1])))
    turns = _fewest(_ladder(rule[1], 4), lambda count: moving((rays, count)))
    # Beams at the limits, against the same written as a series.
    moved = [(changes, exact) for (_, changes), exact in zip(beams, reference, strict=True) if changes is not None]
    nodes = PolarGrid(objective, *grid)
    x, y = (torch.from_numpy(part) for part in nodes.pupil_points)
    error = np.inf
    for degree in DEGREES if any(name in free for name in OFFSETS) else (0,):
        series, coarser_error = MovingBeam(objective, beam, nodes, (rays, turns), free, degree), error
        images = []
        for changes, _ in moved:
            real, imaginary = series(torch.stack(list(changes.values()), dim=1))[0].unbind(0)
            images.append(intensity(x, y, torch.from_numpy(nodes.direction), torch.complex(real, imaginary)))
        error = _error(images, [exact for _, exact in moved])
        # What higher degrees do not mend is the envelope's doing.
        if error < ENOUGH * tolerance or error > 0.7 * coarser_error:
            break
    return Plan(grid, rule, (rays, turns), degree)


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
                        [beam_parameter(part, name) + generator.choice([-1.0, 1.0]) * most], dtype=torch.float64
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


def _error(found: Sequence[Floats], reference: Sequence[Floats]) -> float:
    """Largest relative L2 error over beams and wavefronts; where one leaves the points dark, relative to the others."""
    worst = 0.0
    for ours, exact in zip(found, reference, strict=True):
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
