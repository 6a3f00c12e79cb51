"""Quadrature over the pupil: which plane waves make the focus (``plane_waves``), and with which amplitudes (``Pupil``).

The focal field is the vectorial Debye integral (Richards and Wolf 1959, eqs. 2.18 and 2.26; Leutenegger et al.
2006, eq. 9) over the spherical cap,

    E(r) = integral of A exp(i mask) exp(2 pi i W) P(theta, phi) J exp(i k.r) dOmega,

with the amplitude A (fill x apodization), the Jones vector J and the lens's rotation P. A rule that is Gauss-Legendre
along each ray and trapezoidal around the mask's core converges spectrally, since between core, ring and pupil edge
the integrand is analytic; a Cartesian pupil with its hard edge does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import FILL_CENTERS, HALVES_OFFSETS, HALVES_TILTS, LEAKS, MASK_OFFSETS, TAPER, nominal
from stedalign.optics.patterns import Pattern

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Changes = Mapping[str, Float[Tensor, " beams"]]
Half = Literal["x", "y"]
"""The light polarized along one axis."""
HALVES: Mapping[Half, float] = {"x": 1.0, "y": -1.0}
"""Both, with the share that each has of what their parameters say."""


class PlaneWaves(NamedTuple):
    """Plane waves (J of them) of a batch (B) of beams of one pattern, as tensors that carry gradients."""

    q_x: Float[Tensor, "beams waves"]
    """Directions sin(theta) / sin(alpha), shapes (B, J): the unit disk."""
    q_y: Float[Tensor, "beams waves"]
    cosine: Float[Tensor, "beams waves"]
    """cos(theta), (B, J)."""
    x: Float[Tensor, "beams waves"]
    """Pupil coordinates in pupil radii, (B, J)."""
    y: Float[Tensor, "beams waves"]
    weight: Float[Tensor, "beams waves"]
    """Solid angle of each wave, (B, J); 0 for waves that the edge of the pupil cuts off."""
    amplitude: Complex[Tensor, "beams 3 waves"]
    """Weight x amplitude x mask phase x polarization, complex (B, 3, J)."""


@dataclass(frozen=True)
class Pupil:
    """Plane waves (J of them) that sum to the focal field of one beam behind one objective."""

    x: Float[Floats, " waves"]
    """Pupil coordinates in pupil radii, shape (J,)."""
    y: Float[Floats, " waves"]
    k: Float[Floats, "waves 3"]
    """Wave vectors in rad per nm, shape (J, 3), along x, y, z."""
    amplitude: Complex[Complexes, "rows waves"]
    """Weight x amplitude x mask phase x polarization of each wave, shape (3, J); three more rows for each further
    beam that adds as an intensity."""
    power: float
    """Integral over the solid angle of the squared field of the plane waves (that of J is 1): the beam's power."""

    def field(
        self, points_nm: Float[Floats, "points 3"], phase_rad: Float[Floats, " waves"] | None = None
    ) -> Complex[Complexes, "rows points"]:
        """Focal field by direct summation at points (P, 3) in nm: shape (3, P).

        ``phase_rad`` (J,) is added to the pupil's phase.
        """
        waves = self.amplitude if phase_rad is None else self.amplitude * np.exp(1j * phase_rad)
        kernel: Complexes = np.exp(1j * (self.k @ points_nm.T))
        return waves @ kernel

    def intensity(
        self, points_nm: Float[Floats, "points 3"], phase_rad: Float[Floats, " waves"] | None = None
    ) -> Float[Floats, " points"]:
        """|E|^2 at points (P, 3) in nm: shape (P,)."""
        # In parts, since the kernel holds a complex number for each wave and point.
        parts = np.array_split(points_nm, -(-len(points_nm) * len(self.k) // 2_000_000))
        return np.concatenate([(np.abs(self.field(part, phase_rad)) ** 2).sum(axis=0) for part in parts])


def sample_pupil(objective: Objective, beam: Beam, radial: int, azimuthal: int) -> Pupil:
    """The nodes of ``plane_waves`` for a beam of one pattern, in float64.

    Raises ``InputError`` for a beam of several, whose parts (``beam.components``) have nodes of their own.
    """
    if len(beam.components) > 1:
        raise InputError("a beam of several components has no single pupil: take its components one by one")
    waves = plane_waves(objective, beam, radial, azimuthal)
    # Panels that the pupil's edge cuts off have no width; their nodes would only cost time.
    lit = waves.weight[0] > 0
    q_x, q_y, cosine, x, y = (part[0, lit].numpy() for part in waves[:5])
    amplitude = waves.amplitude[0][:, lit].numpy()
    direction = np.stack([objective.sine * q_x, objective.sine * q_y, cosine], axis=-1)
    return Pupil(
        x=x,
        y=y,
        k=objective.wavenumber(beam.wavelength_nm) * direction,
        amplitude=amplitude,
        power=beam_power(objective, beam, radial, azimuthal),
    )


def beam_power(objective: Objective, beam: Beam, radial: int, azimuthal: int) -> float:
    """The power in the pupil: what a mismatched sample damps is stored near its surface, not lost on the way."""
    matched = objective.model_copy(update={"sample_depth_nm": 0.0})
    waves = plane_waves(matched, beam, radial, azimuthal)
    lit = waves.weight > 0
    return float((waves.amplitude.abs().square().sum(1)[lit] / waves.weight[lit]).sum())


def component_strengths(objective: Objective, beam: Beam, radial: int, azimuthal: int) -> list[float]:
    """Factors for the waves of a beam's components with which each has its part of the power; the first one's is 1."""
    parts = beam.components
    if len(parts) == 1:
        return [1.0]
    powers = [beam_power(objective, part, radial, azimuthal) / part.power_w for part in parts]
    return [float(np.sqrt(powers[0] / power)) for power in powers]


def plane_waves(
    objective: Objective,
    beam: Beam,
    radial: int,
    azimuthal: int,
    changes: Changes | None = None,
    half: Half | None = None,
) -> PlaneWaves:
    """Nodes on ``azimuthal`` rays from the core of the beam's mask, ``radial`` of them in each panel.

    Rays are straight in the pupil. Panels end where the mask's phase steps and at the edges of stop and pupil. A ray
    element t dt dphi, t from the core, is the solid angle (H / squeeze)^2 t dt dphi with H the pupil's radius over the
    focal length (``Objective.squeeze``), whatever the apodization. With the sine condition this grows without bound at
    grazing angles, so there the rays are followed in psi: along one that passes the pupil's center at the distance h,
    cos(theta) = A cos(psi) with A^2 = 1 - (h sin(alpha))^2 and A sin(psi) = sin(alpha) u, u counted from the foot of
    h, and dOmega = sin(alpha) t dpsi dphi; with a centered mask this is sin(theta) dtheta dphi.

    ``changes`` holds (B,) values of some of ``parameters.BEAM_PARAMETERS``; without it B is 1. Everything is
    differentiable in them, because the nodes move with the mask; a core outside the pupil gives NaN. Where the halves
    of the light differ each has its nodes; ``half`` is one of them alone.
    """
    given = dict(changes or {})
    if any(name in given for name in (*HALVES_OFFSETS, *HALVES_TILTS)):
        return _of_both_halves(objective, beam, radial, azimuthal, given)
    like = next(iter(given.values()), torch.zeros(1, dtype=torch.float64))

    def value(name: str) -> Tensor:
        changed = given.get(name)
        return (torch.full_like(like, nominal(beam, name)) if changed is None else changed)[:, None, None]

    pattern, sine = beam.pattern, objective.sine
    offset = value(MASK_OFFSETS[0]), value(MASK_OFFSETS[1])
    rays = _Rays.of(offset, *_azimuths(azimuthal, _steps_around(pattern, offset), like))
    x, y, q_x, q_y, cosine, weight = _nodes(objective, rays, _breaks(objective, beam, rays), radial)
    damping, path = objective.mismatch(sine * torch.sqrt(q_x**2 + q_y**2), beam.wavelength_nm)
    envelope = beam.envelope(x, y, value(TAPER), (value(FILL_CENTERS[0]), value(FILL_CENTERS[1])))
    size = weight * objective.amplitude(cosine) * envelope * damping
    phase = pattern.phase(x, y, offset) + path
    leak = torch.complex(*map(value, LEAKS)) if any(name in given for name in LEAKS) else None
    jones_x, jones_y = _jones(beam, x, y, leak, half)
    parts = _refracted(sine * q_x, sine * q_y, cosine, jones_x, jones_y)
    amplitude = torch.stack(parts, dim=1) * torch.polar(size, phase)[:, None]
    return PlaneWaves(
        q_x.flatten(1),
        q_y.flatten(1),
        cosine.flatten(1),
        x.flatten(1),
        y.flatten(1),
        weight.flatten(1),
        amplitude.flatten(2),
    )


def _jones(beam: Beam, x: Tensor, y: Tensor, leak: Tensor | None, half: Half | None) -> tuple[Tensor, Tensor]:
    """The light's components along x and y before the objective, at pupil points."""
    jones_x, jones_y = (torch.complex(*part) for part in beam.polarization.field(x, y))
    if leak is not None:
        kept = torch.rsqrt(1 + leak.abs().square())
        jones_x, jones_y = kept * (jones_x - leak * jones_y.conj()), kept * (jones_y + leak * jones_x.conj())
    if half is None:
        return jones_x, jones_y
    return (jones_x, 0 * jones_y) if half == "x" else (0 * jones_x, jones_y)


def _of_both_halves(objective: Objective, beam: Beam, radial: int, azimuthal: int, given: Changes) -> PlaneWaves:
    """The nodes of the light along x and then those of the light along y, each around its own core and tilted."""
    both = []
    for half, side in HALVES.items():
        own = {name: value for name, value in given.items() if name not in (*HALVES_OFFSETS, *HALVES_TILTS)}
        for name, further in zip(MASK_OFFSETS, HALVES_OFFSETS, strict=True):
            if further in given:
                own[name] = own.get(name, nominal(beam, name)) + side * given[further]
        like = next(iter(given.values()))
        waves = plane_waves(objective, beam, radial, azimuthal, own or {TAPER: torch.full_like(like, beam.taper)}, half)
        tilt_x, tilt_y = (given.get(name, torch.zeros_like(like))[:, None] for name in HALVES_TILTS)
        turn = 2 * np.pi * side * (tilt_x * waves.x + tilt_y * waves.y)
        both.append(waves._replace(amplitude=waves.amplitude * torch.polar(torch.ones_like(turn), turn)[:, None]))
    return PlaneWaves(*(torch.cat(parts, dim=-1) for parts in zip(*both, strict=True)))


class _Rays(NamedTuple):
    """Rays from the core of a mask across the pupil, as tensors (B, 1 or rays, 1) that carry gradients."""

    core: tuple[Tensor, Tensor]
    """x, y in pupil radii."""
    weight: Tensor
    """Angle that each ray stands for."""
    along: Tensor
    """Direction: x and y of a unit vector."""
    across: Tensor
    foot: Tensor
    """How far the core lies along the ray from the ray's point nearest to the pupil's center."""
    height_squared: Tensor
    """Square of that point's distance from the center."""

    @classmethod
    def of(cls, core: tuple[Tensor, Tensor], phi: Tensor, weight: Tensor) -> _Rays:
        along, across = torch.cos(phi), torch.sin(phi)
        foot = core[0] * along + core[1] * across
        return cls(core, weight, along, across, foot, core[0] ** 2 + core[1] ** 2 - foot**2)

    def reach(self, radius: float) -> Tensor:
        """Distance from the core at which rays leave the disk of ``radius`` around the pupil's center."""
        return torch.sqrt(radius**2 - self.height_squared) - self.foot

    def at(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Pupil coordinates so far from the core."""
        return self.core[0] + distance * self.along, self.core[1] + distance * self.across

    def between(self, ends: list[Tensor], radial: int) -> tuple[Tensor, Tensor]:
        """Gauss-Legendre nodes, ``radial`` in each panel between two ends, and their weights times the rays'."""
        node, weight = (torch.as_tensor(part).to(self.foot) for part in np.polynomial.legendre.leggauss(radial))
        halves = [(outer - inner) / 2 for inner, outer in pairwise(ends)]
        places = [inner + half * (node + 1) for inner, half in zip(ends, halves, strict=False)]
        return torch.cat(places, dim=-1), torch.cat([half * weight * self.weight for half in halves], dim=-1)


def _breaks(objective: Objective, beam: Beam, rays: _Rays) -> list[Tensor]:
    """Distances from the core at which panels begin and end, from the inside out."""
    edge = rays.reach(1.0)
    start = rays.reach(beam.stop_radius) if beam.stop_radius else torch.zeros_like(edge)
    steps = [torch.full_like(edge, ring) for ring in beam.pattern.rings]
    if objective.has_evanescent_waves and objective.sample_index is not None:
        critical = objective.sample_index / objective.immersion_index
        steps.append(torch.nan_to_num(rays.reach(float(objective.pupil_radius(np.array(critical))))))
    if len(steps) > 1:
        steps = list(torch.stack(steps).sort(dim=0).values)
    return [start, *(torch.minimum(torch.maximum(step, start), edge) for step in steps), edge]


def _nodes(objective: Objective, rays: _Rays, breaks: list[Tensor], radial: int) -> tuple[Tensor, ...]:
    """x, y, q_x, q_y, cosine and weight as of ``PlaneWaves``, of panels that end at distances ``breaks`` from the core.

    Each has the shape (B, rays, nodes).
    """
    sine = objective.sine
    if objective.mapping == "sine":
        axis_cosine = torch.sqrt(1 - sine**2 * rays.height_squared)
        ends = [torch.arcsin(sine * (rays.foot + distance) / axis_cosine) for distance in breaks]
        psi, weight = rays.between(ends, radial)
        distance = axis_cosine * torch.sin(psi) / sine - rays.foot
        x, y = rays.at(distance)
        return x, y, x, y, (axis_cosine * torch.cos(psi)).expand_as(x), sine * distance * weight
    distance, weight = rays.between(breaks, radial)
    x, y = rays.at(distance)
    # The tiny floor keeps the slope finite at the center.
    radius = torch.sqrt(x**2 + y**2 + 1e-24)
    ray_sine = objective.ray_sine(radius)
    q_x, q_y = x * ray_sine / (sine * radius), y * ray_sine / (sine * radius)
    cosine = torch.sqrt(1 - ray_sine**2)
    return x, y, q_x, q_y, cosine, (objective.pupil_height / objective.squeeze(cosine)) ** 2 * distance * weight


def _refracted(
    s_x: Tensor, s_y: Tensor, s_z: Tensor, jones_x: Tensor, jones_y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The field of Jones vectors after the lens has turned them towards the unit vectors (s_x, s_y, s_z).

    The lens keeps the azimuthal component and turns the radial one by theta (Richards and Wolf 1959,
    eq. 2.23): E = J - [ (1 - cos theta) (e_rho.J) e_rho + sin theta (e_rho.J) e_z ].
    """
    radial = s_x * jones_x + s_y * jones_y
    # (1 - cos) / sin^2 = 1 / (1 + cos), so the axis needs no special case.
    bend = radial / (1 + s_z)
    return jones_x - s_x * bend, jones_y - s_y * bend, -radial


def _azimuths(count: int, steps: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """Directions from the core and their weights, each (B, J, 1); J is ``count``, or a little more.

    They follow the trapezoidal rule, or Gauss-Legendre on the arcs between directions (B, K, 1), in any order, at which
    the integrand has a kink.
    """
    if steps is None:
        phi = 2 * np.pi * torch.arange(count, dtype=like.dtype, device=like.device)[None, :, None] / count
        return phi, torch.full_like(phi, 2 * np.pi / count)
    # The first of them is the start, so that no arc runs across it.
    first = steps[:, :1]
    starts = torch.remainder(steps - first, 2 * np.pi).sort(dim=1).values
    arcs = torch.diff(starts, dim=1, append=torch.full_like(first, 2 * np.pi))
    on_each = -(-count // steps.shape[1])
    node, weight = (torch.as_tensor(part).to(like) for part in np.polynomial.legendre.leggauss(on_each))
    phi = first + starts + arcs / 2 * (node + 1)
    return phi.flatten(1)[..., None], (arcs / 2 * weight).flatten(1)[..., None]


def _steps_around(pattern: Pattern, offset: tuple[Tensor, Tensor]) -> Tensor | None:
    """Directions (B, K, 1) from the core between which the integral over a ray is smooth; None if it is all around.

    Those of straight edges, and of the points where displaced rings leave the pupil.
    """
    steps = [torch.full_like(offset[0], edge) for edge in pattern.edges_rad]
    distance = torch.sqrt(offset[0] ** 2 + offset[1] ** 2 + 1e-24)
    towards = torch.arctan2(offset[1], offset[0])
    for ring in pattern.rings:
        cosine = (1 - distance**2 - ring**2) / (2 * distance * ring)
        crossed = (cosine.abs() < 1) & (distance > 1e-6)
        if bool(crossed.any()):
            half = torch.arccos(torch.where(crossed, cosine, torch.zeros_like(cosine)))
            steps += [towards - half, towards + half]
    return torch.cat(steps, dim=1) if steps else None
