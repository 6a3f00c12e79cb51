"""How many nodes an accuracy takes: measured for the optics at hand, not guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.optics.beam import Beam, Objective
from stedalign.optics.polar_grid import PolarGrid
from stedalign.optics.pupil import PlaneWaves, beam_parameter, plane_waves
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]
Nodes = tuple[int, int]

FINEST_RULES: tuple[Nodes, ...] = (32, 64), (48, 112), (80, 176), (128, 288), (224, 512)
SHARE = 0.15
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

    They are measured against a rule that itself agrees with one half as fine in both directions. Raises ``ValueError``
    where the finest rule is not enough for the field.
    """
    generator = np.random.default_rng(0)
    extremes = np.concatenate([points_nm.argmin(axis=0), points_nm.argmax(axis=0)])
    points = points_nm[np.concatenate([extremes, generator.integers(len(points_nm), size=60)])]
    coefficients = generator.normal(size=(3, len(modes)))
    coefficients *= strength_waves / np.linalg.norm(coefficients, axis=1, keepdims=True)
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

    # A rule converges spectrally, so its error falls at least as the square of itself when the nodes double; a map
    # from a file converges only as its interpolation does.
    maps = any("file" in (part.pattern.kind, part.polarization.kind) for part, _ in beams)
    enough = tolerance if maps else max(0.1 * tolerance**0.5, 1e-9)
    coarse: list[Floats] = []
    for finest in FINEST_RULES:
        reference = by_rule(finest)
        coarse = by_rule((finest[0] // 2, finest[1] // 2))
        if _error(coarse, reference) < enough:
            break
    else:
        reason = (
            "the mask or map from a file is too rough"
            if maps
            else f"a field that reaches {np.abs(points_nm).max():.0f} nm from the focus is too wide"
        )
        remedy = "a larger one" if maps else "fewer or smaller pixels"
        raise ValueError(f"{reason} for a tolerance of {tolerance:g}: take {remedy}")

    precise = waves(finest)

    def on_grid(nodes: Nodes, projected: Sequence[PlaneWaves]) -> float:
        grid = PolarGrid(objective, *nodes)
        direction = torch.from_numpy(grid.direction)
        x, y = (torch.from_numpy(part) for part in grid.pupil_points(objective))
        found = [intensity(x, y, direction, grid.project(part)[0]) for part in projected]
        return _error(found, reference)

    goal = SHARE * tolerance
    widest = min(finest[0], 64), min(finest[1], 160)
    radial = _first(_ladder(widest[0], 1), lambda count: on_grid((count, widest[1]), precise) < goal)
    azimuthal = _first(_ladder(widest[1], 4), lambda count: on_grid((radial, count), precise) < goal)
    grid = radial, azimuthal
    if not free:
        return Plan(grid, finest, finest)
    floor = on_grid(grid, precise)
    rays = _first(_ladder(finest[0], 1), lambda count: on_grid(grid, waves((count, finest[1]))) < floor + goal)
    turns = _first(_ladder(finest[1], 4), lambda count: on_grid(grid, waves((rays, count))) < floor + goal)
    return Plan(grid, finest, (rays, turns))


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
                    name: torch.tensor([beam_parameter(part, name) + generator.choice([-1.0, 1.0]) * most])
                    for name, most in free.items()
                },
            )


def _error(found: Sequence[Floats], reference: Sequence[Floats]) -> float:
    """Largest relative L2 error over beams and wavefronts."""
    return max(
        float((np.linalg.norm(ours - exact, axis=1) / np.linalg.norm(exact, axis=1)).max())
        for ours, exact in zip(found, reference, strict=True)
    )


def _first(counts: Sequence[int], good: Callable[[int], bool]) -> int:
    """The first count that is good, or the last one."""
    return next((count for count in counts[:-1] if good(count)), counts[-1])


def _ladder(finest: int, step: int) -> list[int]:
    """Numbers of nodes to try, from few to ``finest``: multiples of ``step``, ten percent apart at least."""
    counts = [6 * step]
    while counts[-1] < finest:
        counts.append(min(finest, max(counts[-1] + step, int(1.1 * counts[-1]) // step * step)))
    return counts
