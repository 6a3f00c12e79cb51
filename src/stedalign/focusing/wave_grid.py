"""A fixed set of plane waves that any beam can be written on (``WaveGrid``), and what it needs of it (``moments``).

The field on a target is an integral over the pupil of the beam (mask, light, polarization: rough, with a core, rings
and edges) times a function that is smooth over the whole pupil (aberrations and exp(ik.r)). The smooth factor is
given by its values on a grid of rings, where it is a polynomial along diameters and a trigonometric one around. So
the integral needs from the beam only one number for each node of the grid: its integral against that node's
interpolation function. Whatever the mask does and wherever it sits, the waves of the grid, its kernels and its
symmetry stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.focusing.pupil_quadrature import PlaneWaves
from stedalign.optics.objective import Objective

Floats = NDArray[np.float64]

BEAMS_AT_ONCE, WAVES_AT_ONCE = 8, 4096


class WaveGrid(torch.nn.Module):
    """``radial`` rings times ``azimuthal`` rays over the whole pupil, symmetric about both axes.

    Rings lie at the positive Gauss-Legendre nodes of a diameter in theta, rays half a step off the axes. Nodes are
    ordered as (2, 2, quadrant): first the sign of x (+, -), then that of y.
    """

    from_degree: Tensor
    from_order: Tensor

    def __init__(self, objective: Objective, radial: int, azimuthal: int) -> None:
        """Raises ``InputError`` unless ``azimuthal`` is a multiple of 4."""
        super().__init__()
        if azimuthal % 4:
            raise InputError(f"the grid's rays come in fours, got {azimuthal}")
        self.radial, self.azimuthal = radial, azimuthal
        self.objective = objective
        alpha = float(np.arcsin(objective.sine))
        node, weight = np.polynomial.legendre.leggauss(2 * radial)
        ring, ring_weight = node[radial:], weight[radial:]
        degree = np.arange(2 * radial)
        # Lagrange's polynomial of a Gauss node is a short Legendre series.
        legendre = np.polynomial.legendre.legvander(ring, 2 * radial - 1)
        self.register_buffer("from_degree", torch.from_numpy(legendre * ring_weight[:, None] * (degree + 0.5)))

        quadrant = 2 * np.pi * (np.arange(azimuthal // 4) + 0.5) / azimuthal
        phi = np.concatenate([quadrant, -quadrant, np.pi - quadrant, np.pi + quadrant])
        order = np.arange(azimuthal // 2 + 1)
        twice = np.where((order == 0) | (order == azimuthal // 2), 2.0, 4.0) / azimuthal
        turns = np.stack([np.cos(np.outer(order, phi)), np.sin(np.outer(order, phi))]) * twice[:, None]
        self.register_buffer("from_order", torch.from_numpy(turns))

        theta, phi_grid = alpha * ring[None, :, None], phi.reshape(4, 1, -1)
        sine = np.sin(theta)
        shape = (4, radial, azimuthal // 4)
        self.direction: Floats = np.stack(
            [
                (sine * np.cos(phi_grid)).ravel(),
                (sine * np.sin(phi_grid)).ravel(),
                np.broadcast_to(np.cos(theta), shape).ravel(),
            ],
            axis=-1,
        )
        """Unit vectors (J, 3) of the waves."""
        area = alpha * ring_weight[None, :, None] * sine * 2 * np.pi / azimuthal
        self.area: Floats = np.broadcast_to(area, shape).ravel()
        """Solid angle that each node stands for, (J,)."""

    def __len__(self) -> int:
        return self.radial * self.azimuthal

    @property
    def pupil_points(self) -> tuple[Float[Floats, " waves"], Float[Floats, " waves"]]:
        """Pupil coordinates x, y (J,) of the nodes, in pupil radii."""
        sine = np.hypot(self.direction[:, 0], self.direction[:, 1])
        stretch = self.objective.pupil_radius(sine) / sine
        return self.direction[:, 0] * stretch, self.direction[:, 1] * stretch

    def project(self, waves: PlaneWaves) -> Complex[Tensor, "beams 3 waves"]:
        """The complex amplitudes (B, 3, J) on the grid that act as ``waves`` do on every smooth function.

        Interpolation transposed: a wave between nodes is shared out among them.
        """
        return self.from_moments(moments(waves, self.objective, 2 * self.radial, self.azimuthal // 2 + 1))

    def from_moments(self, sums: Sequence[Float[Tensor, "beams 6 _ 2 _"]]) -> Complex[Tensor, "beams 3 waves"]:
        """The same from ``moments`` of the waves, of at least as many degrees and orders as the grid has."""
        nodes: Tensor | float = 0.0
        for parity, part in enumerate(sums):
            back = self.from_order[:, parity::2].to(part)
            ours = part[:, :, : self.radial, :, : back.shape[1]].flatten(3)
            nodes = nodes + self.from_degree[:, parity::2].to(part) @ (ours @ back.flatten(0, 1))
        assert isinstance(nodes, Tensor)
        # From (ring, ray) to (sign of x, sign of y, ring, ray in the quadrant).
        quarters = nodes.unflatten(-1, (4, self.azimuthal // 4)).movedim(-2, 2).flatten(2)
        return torch.complex(*quarters.unflatten(1, (3, 2)).unbind(2))


def moments(waves: PlaneWaves, objective: Objective, degrees: int, orders: int) -> list[Float[Tensor, "beams 6 _ 2 _"]]:
    """Sums of amplitude x P_l(theta / alpha) x (cos, sin)(n phi) over the waves, for l < ``degrees``, n < ``orders``.

    One tensor (B, 6, l, 2, n) for even l and n, and one for odd ones: functions that are smooth at the center have no
    others. The second axis holds real and imaginary part of Ex, Ey and Ez.
    """
    rows = torch.view_as_real(waves.amplitude).movedim(-1, 2).flatten(1, 2)
    q = torch.sqrt(waves.q_x**2 + waves.q_y**2).clamp_min(1e-12)
    diameter = torch.arcsin((objective.sine * q).clamp_max(1.0)) / float(np.arcsin(objective.sine))
    legendre = _legendre(diameter, degrees)
    cosines, sines = _multiples(waves.q_x / q, waves.q_y / q, orders)
    parities = []
    for parity in (0, 1):
        degree = legendre[:, parity::2]
        turns = torch.cat([cosines[:, parity::2], sines[:, parity::2]], dim=1).transpose(1, 2)
        # In pieces that stay in the cache: of the batch where it is large, of the waves where they are many.
        sums = [
            sum(
                (part[:, :, None] * heights[:, None]).flatten(1, 2) @ angles
                for part, heights, angles in zip(
                    beams[0].split(WAVES_AT_ONCE, dim=2),
                    beams[1].split(WAVES_AT_ONCE, dim=2),
                    beams[2].split(WAVES_AT_ONCE, dim=1),
                    strict=True,
                )
            )
            for beams in zip(
                rows.split(BEAMS_AT_ONCE), degree.split(BEAMS_AT_ONCE), turns.split(BEAMS_AT_ONCE), strict=True
            )
        ]
        parities.append(torch.cat(sums).unflatten(1, (6, -1)).unflatten(3, (2, -1)))
    return parities


def _legendre(t: Tensor, count: int) -> Tensor:
    """Legendre polynomials P_0 to P_(count-1) at t (B, J): shape (B, count, J)."""
    values = [torch.ones_like(t), t]
    for degree in range(2, count):
        values.append(((2 * degree - 1) * t * values[-1] - (degree - 1) * values[-2]) / degree)
    return torch.stack(values[:count], dim=1)


def _multiples(cosine: Tensor, sine: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """cos(n phi) and sin(n phi) for n < count from those of phi (B, J): each (B, count, J)."""
    cosines, sines = [torch.ones_like(cosine)], [torch.zeros_like(sine)]
    for _ in range(1, count):
        cosines.append(cosines[-1] * cosine - sines[-1] * sine)
        sines.append(sines[-1] * cosine + cosines[-2] * sine)
    return torch.stack(cosines, dim=1), torch.stack(sines, dim=1)
