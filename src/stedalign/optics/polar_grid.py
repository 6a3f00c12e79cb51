"""A fixed set of plane waves that any beam can be written on.

The field on a target is an integral over the pupil of the beam (mask, light, polarization: rough, with a core, rings
and edges) times a function that is smooth over the whole pupil (aberrations and exp(ik.r)). The smooth factor is
given by its values on a grid of rings, where it is a polynomial along diameters and a trigonometric one around. So
the integral needs from the beam only one number for each node of the grid: its integral against that node's
interpolation function. Whatever the mask does and wherever it sits, the waves of the grid, its kernels and its
symmetry stay the same.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.optics.beam import Objective
from stedalign.optics.pupil import PlaneWaves

Floats = NDArray[np.float64]

AT_ONCE = 8
"""Beams that are projected together: more leave the cache."""


class PolarGrid(torch.nn.Module):
    """``radial`` rings times ``azimuthal`` rays over the whole pupil, symmetric about both axes.

    Rings lie at the positive Gauss-Legendre nodes of a diameter in theta, rays half a step off the axes. Nodes are
    ordered as (2, 2, quadrant): first the sign of x (+, -), then that of y.
    """

    from_degree: Tensor
    from_order: Tensor

    def __init__(self, objective: Objective, radial: int, azimuthal: int) -> None:
        """Raises ``ValueError`` unless ``azimuthal`` is a multiple of 4."""
        super().__init__()
        if azimuthal % 4:
            raise ValueError(f"the grid's rays come in fours, got {azimuthal}")
        self.radial, self.azimuthal = radial, azimuthal
        self.alpha = float(np.arcsin(objective.sine))
        self.sine = objective.sine
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
        waves = np.stack([twice * np.cos(np.outer(phi, order)), twice * np.sin(np.outer(phi, order))])
        self.register_buffer("from_order", torch.from_numpy(waves))

        theta, phi_grid = self.alpha * ring[None, :, None], phi.reshape(4, 1, -1)
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
        area = self.alpha * ring_weight[None, :, None] * sine * 2 * np.pi / azimuthal
        self.area: Floats = np.broadcast_to(area, shape).ravel()
        """Solid angle that each node stands for, (J,)."""

    def __len__(self) -> int:
        return self.radial * self.azimuthal

    def pupil_points(self, objective: Objective) -> tuple[Floats, Floats]:
        """Pupil coordinates x, y (J,) of the nodes, in pupil radii."""
        sine = np.hypot(self.direction[:, 0], self.direction[:, 1])
        stretch = objective.pupil_radius(sine) / sine
        return self.direction[:, 0] * stretch, self.direction[:, 1] * stretch

    def project(self, waves: PlaneWaves) -> Tensor:
        """The complex amplitudes (B, 3, J) on the grid that act as ``waves`` do on every smooth function.

        Interpolation transposed: a wave between nodes is shared out among them. A diameter's degree and the order
        around must both be even or both be odd, as they are for functions that are smooth at the center.
        """
        rows = torch.view_as_real(waves.amplitude).movedim(-1, 2).flatten(1, 2)
        q = torch.sqrt(waves.q_x**2 + waves.q_y**2).clamp_min(1e-12)
        diameter = torch.arcsin((self.sine * q).clamp_max(1.0)) / self.alpha
        degrees = _legendre(diameter, 2 * self.radial)
        cosines, sines = _multiples(waves.q_x / q, waves.q_y / q, self.azimuthal // 2 + 1)
        found: Tensor | float = 0.0
        for parity in (0, 1):
            turns = torch.cat([cosines[:, parity::2], sines[:, parity::2]], dim=1).transpose(1, 2)
            moments = torch.cat(
                [
                    (part[:, :, None] * degree[:, None]).flatten(1, 2) @ turn
                    for part, degree, turn in zip(
                        rows.split(AT_ONCE), degrees[:, parity::2].split(AT_ONCE), turns.split(AT_ONCE), strict=True
                    )
                ]
            ).unflatten(1, (rows.shape[1], self.radial))
            back = torch.cat([waves_back[:, parity::2] for waves_back in self.from_order], dim=1)
            found = found + self.from_degree[:, parity::2] @ (moments @ back.T)
        assert isinstance(found, Tensor)
        # From (ring, ray) to (sign of x, sign of y, ring, ray in the quadrant).
        quarters = found.unflatten(-1, (4, self.azimuthal // 4)).movedim(-2, 2).flatten(2)
        return torch.complex(*quarters.unflatten(1, (3, 2)).unbind(2))


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
