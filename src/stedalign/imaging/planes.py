"""The planes of a volume, each with a light and a place of its own (``Planes``)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stedalign.imaging.differences import differences
from stedalign.imaging.images import View
from stedalign.imaging.parameter_layout import ParameterLayout

ROUNDS = 3
"""Steps in which light and place of the planes are found: the model is linear in them."""


class FoundPlanes(NamedTuple):
    """Light and place of each plane of B images, given all other parameters."""

    light: Float[Tensor, "images pixels"]
    """Expected photons (B, pixels) with them, and what was ``extra``."""
    taken: Float[Tensor, " images"]
    """What their prior takes of twice the log-likelihood, (B,)."""
    amounts: Float[Tensor, "images planes changes"]
    """How much of each change every plane has, (B, Z, C)."""
    changes: Float[Tensor, "images changes planes in_plane"]
    """What one unit of each change adds to the photons, (B, C, Z, Y X)."""


class Planes(torch.nn.Module):
    """What scatters from plane to plane of a volume that is scanned plane by plane: the bead's light, and its place.

    To first order a plane is its light times 1 + flux, less the displacement times the slopes of the light along x and
    y. With normal priors these few numbers of each plane are found by themselves for whatever the other parameters are,
    and what is left of the information on the others is its Schur complement, plane by plane: as if all were free.
    """

    precision: Tensor

    def __init__(self, view: View, layout: ParameterLayout, binning: int, flux: float, wobble_nm: float) -> None:
        """Of a volume's ``view`` on its binned pixels, with standard deviations of each plane's light and place."""
        super().__init__()
        self.shape = [count // binning for count in view.shape]
        self.binning, self.pooled, self.background = binning, binning**3, layout.background
        # Planes that are added up scatter less.
        sigmas = [sigma / binning**0.5 for sigma in (flux, wobble_nm, wobble_nm)]
        self.kinds = [kind for kind, sigma in enumerate(sigmas) if sigma > 0]
        self.pixel_nm = [size * binning for size in view.pixel_nm[:2]]
        precision = torch.tensor([sigmas[kind] ** -2 for kind in self.kinds], dtype=torch.float64)
        self.register_buffer("precision", precision)

    def found(
        self,
        values: Float[Tensor, "images pixels"],
        parameters: Float[Tensor, "images parameters"],
        data: Float[Tensor, "images pixels"],
        extra: Float[Tensor, "images pixels"],
        weight: Float[Tensor, "images pixels"],
        least: float,
    ) -> FoundPlanes:
        """The likeliest planes where steady ones have these photons (``values``), and ``data`` are seen.

        All (B, pixels); ``extra`` adds to the photons, no pixel expects fewer than ``least``.
        """
        changes = self.changes(values.double(), parameters)
        steady, seen, weight = (self._in_planes(part) for part in (values.double() + extra, data, weight))
        amounts = changes.new_zeros(len(changes), self.shape[0], len(self.kinds))

        def light() -> Tensor:
            return (steady + torch.einsum("bczx,bzc->bzx", changes, amounts)).clamp_min(least)

        for _ in range(ROUNDS):
            now = light()
            pull = torch.einsum("bczx,bzx->bzc", changes, weight * (seen - now) / now) - self.precision * amounts
            amounts = amounts + torch.linalg.solve(self._information(changes, weight / now), pull)
        return FoundPlanes(light().flatten(1), (self.precision * amounts**2).sum((1, 2)), amounts, changes)

    def changes(
        self, values: Float[Tensor, "images pixels"], parameters: Float[Tensor, "images parameters"]
    ) -> Float[Tensor, "images changes planes in_plane"]:
        """What one unit of each change adds (B, C, Z, Y X) to photons ``values`` (B, pixels), background apart."""
        bead = values - parameters[:, self.background] * self.pooled
        return torch.stack([self._in_planes(self._changed(bead, kind)) for kind in self.kinds], dim=1)

    def with_amounts(
        self, columns: Float[Tensor, "images columns pixels"], amounts: Float[Tensor, "images planes changes"]
    ) -> Float[Tensor, "images columns pixels"]:
        """Derivatives (B, P, pixels) of steady planes as those of planes with these ``amounts``."""
        changed = columns.clone()
        for place, kind in enumerate(self.kinds):
            more = self._in_planes(self._changed(columns, kind))
            changed += (more * amounts[:, None, :, place, None].to(columns)).flatten(-2)
        # A background has no light of its own that could change.
        changed[:, self.background] = columns[:, self.background]
        return changed

    def unbinned(
        self,
        values: Float[Tensor, "images parts *pixels"],
        parameters: Float[Tensor, "images parameters"],
        amounts: Float[Tensor, "images planes changes"],
    ) -> Float[Tensor, "images parts *pixels"]:
        """Photons (B, 1, Z, Y, X) of pixels before binning, of steady planes, as those of planes with these amounts."""
        bead = (values - parameters[:, self.background, None, None, None]).double()
        seen = values.double()
        for place, kind in enumerate(self.kinds):
            amount = amounts[:, None, :, place].repeat_interleave(self.binning, dim=-1)
            seen = seen + self._changed_cube(bead, kind, 1) * amount[..., None, None]
        return seen.to(values).clamp_min(0)

    def weighed(
        self,
        columns: Float[Tensor, "images columns pixels"],
        changes: Float[Tensor, "images changes planes in_plane"],
        weight: Float[Tensor, "images pixels"],
    ) -> Float[Tensor, "images columns pixels"]:
        """Columns (B, P, pixels) times the inverse covariance of the pixels: 1 / ``weight`` (B, pixels) and the planes.

        By the identity of Woodbury.
        """
        each = self._in_planes(weight)
        alone = self._in_planes(columns.double()) * each[:, None]
        shared = torch.einsum("bpzx,bczx->bzcp", alone, changes)
        shared = torch.linalg.solve(self._information(changes, each), shared)
        return (alone - torch.einsum("bzcp,bczx,bzx->bpzx", shared, changes, each)).flatten(-2)

    def scattered(
        self,
        weighed: Float[Tensor, "images columns pixels"],
        changes: Float[Tensor, "images changes planes in_plane"],
    ) -> Float[Tensor, "images columns columns"]:
        """Covariance (B, P, P) of the products of ``weighed`` columns with an image, by what the planes do alone."""
        shared = torch.einsum("bpzx,bczx->bpzc", self._in_planes(weighed), changes)
        return torch.einsum("bpzc,c,bqzc->bpq", shared, 1 / self.precision, shared)

    def _information(self, changes: Tensor, weight: Tensor) -> Tensor:
        """Of what each plane has of the changes, (B, Z, C, C)."""
        return torch.einsum("bczx,bzx,bdzx->bzcd", changes, weight, changes) + torch.diag(self.precision)

    def _in_planes(self, pixels: Tensor) -> Tensor:
        """(..., pixels) as (..., Z, Y X)."""
        return pixels.unflatten(-1, (self.shape[0], -1))

    def _changed(self, light: Tensor, kind: int) -> Tensor:
        """(..., pixels) by one unit of a change: 0 flux, 1 displacement along x, 2 along y."""
        if kind == 0:
            return light
        return self._changed_cube(light.unflatten(-1, self.shape), kind, self.binning).flatten(-3)

    def _changed_cube(self, light: Tensor, kind: int, binning: int) -> Tensor:
        """The same of cubes (..., Z, Y, X), whose pixels hold ``binning`` of the view's along each axis."""
        if kind == 0:
            return light
        axis = kind - 1
        slopes = torch.from_numpy(differences(light.shape[-1 - axis])).to(light)
        slopes = slopes * (self.binning / binning / self.pixel_nm[axis])
        return -(light @ slopes.mT) if axis == 0 else -(slopes @ light)
