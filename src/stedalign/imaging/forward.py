"""The forward model: wavefront and nuisances in, expected counts of an image out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from stedalign.errors import InputError
from stedalign.focusing.focus import Focus
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import VOLUME, View
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.imaging.pinhole import Pinhole
from stedalign.imaging.planes import Planes
from stedalign.optics.detection import OPEN
from stedalign.optics.deviations import check_deviation
from stedalign.optics.parameters import DETECTION_PARAMETERS
from stedalign.optics.wavefront import ModeSet


class ForwardModel(torch.nn.Module):
    """Expected counts of an image, and their analytic Jacobian, for batches of parameters.

    An image has one or several parts, such as three sections, each an exposure with its own light. What stands where
    in a parameter vector says its ``layout``; scale and background are those of a pixel before binning.
    """

    def __init__(
        self,
        spec: ForwardSpec,
        modes: ModeSet,
        *,
        view: View | None = None,
        free: Mapping[str, float] | None = None,
        drifting: bool = False,
        uneven: bool = False,
        binning: int = 1,
        tolerance: float = 1e-4,
        strength_waves: float = 0.35,
        unsteady: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Build the factored focus; ``free``, ``drifting``, ``tolerance`` and ``strength_waves`` as for ``Focus``.

        ``free`` may name ``DETECTION_PARAMETERS``, too, which follow after the others. With ``uneven`` the
        background of sections is a surface of second order. ``unsteady`` are the standard deviations of the light of
        each plane of a volume, as a fraction, and of its place in nm.

        In float32, which is finer than any detector. Without a ``view`` an image is the three sections of the spec's
        sampling. With ``binning`` it is a model of ``binned`` images, of N pixels along each axis where the view has
        N x ``binning``. Raises ``InputError`` where they do not come out even.
        """
        super().__init__()
        self.view = view or spec.sampling.view
        if any(count % binning for count in self.view.shape):
            shape = " x ".join(map(str, self.view.shape))
            raise InputError(f"{shape} pixels cannot be binned by {binning}")
        self.binning = binning
        self.shape = tuple(count // binning for count in self.view.shape)
        """Pixels of each part as the model sees it."""
        self.pooled = binning ** len(self.shape)
        """How many of the image's pixels one of these holds."""
        self.spec = spec
        self.modes = modes
        of_focus, detected = _split(free or {})
        self.focus = Focus(
            spec.objective,
            spec.beam,
            modes,
            self.view.targets(),
            bead_diameter_nm=spec.bead.diameter_nm,
            free=of_focus,
            drifting=drifting,
            tolerance=tolerance,
            strength_waves=strength_waves,
        ).float()
        self.reach = self.focus.reach | detected
        """How far each free parameter may deviate."""
        self.layout = ParameterLayout(
            spec.beam, modes, self.view.parts, tuple(self.reach), drifting, spec.detection, uneven
        )
        self.pinhole: Pinhole | None = None
        if detected or spec.detection != OPEN:
            self.pinhole = Pinhole(spec, self.view, self.layout, self.reach).float()
        self.planes: Planes | None = None
        """What the planes of a volume have for themselves; expected counts are those of steady ones."""
        if self.view.parts == (VOLUME,) and any(unsteady):
            self.planes = Planes(self.view, self.layout, binning, *unsteady)

    def intensity(
        self, focus_parameters: Float[Tensor, "images {self.layout.focus.stop}"]
    ) -> Float[Tensor, "images parts *pixels"]:
        """Intensity (B, parts, ...) relative to the unaberrated crest, for parameters (B, layout.focus.stop).

        Of three sections (B, 3, N, N), of a volume (B, 1, Z, Y, X).
        """
        return self._intensity(focus_parameters, self.binning).unflatten(-1, self.shape)

    def binned(self, counts: Float[Tensor, "images parts *pixels"]) -> Float[Tensor, "images parts *binned"]:
        """Counts (B, parts, ...) of the binned pixels: sums of photons are photons."""
        if self.binning == 1:
            return counts
        pool = functional.avg_pool2d if len(self.shape) == 2 else functional.avg_pool3d
        return pool(counts, self.binning, divisor_override=1)

    def unbinned(self, parameters: Float[Tensor, "images {len(self.layout)}"]) -> Float[Tensor, "images parts *pixels"]:
        """Expected counts (B, parts, ...) of the pixels as they were before binning."""
        intensity = self._intensity(parameters[:, self.layout.focus], 1)
        return self._lit(intensity, parameters).unflatten(-1, self.view.shape)

    def forward(self, parameters: Float[Tensor, "images {len(self.layout)}"]) -> Float[Tensor, "images parts *pixels"]:
        """Expected counts (B, parts, ...) for parameters (B, len(layout))."""
        intensity = self._intensity(parameters[:, self.layout.focus], self.binning)
        return (self._lit(intensity, parameters) * self.pooled).unflatten(-1, self.shape)

    def linearize(
        self, parameters: Float[Tensor, "images {len(self.layout)}"]
    ) -> tuple[Float[Tensor, "images parts pixels"], Float[Tensor, "images {len(self.layout)} parts pixels"]]:
        """Expected counts (B, parts, pixels) and their derivatives (B, len(layout), parts, pixels)."""
        intensity, slopes = self.jacobian(parameters[:, self.layout.focus])
        scale = parameters[:, self.layout.scale, None] * self.pooled
        jacobian = slopes.new_zeros(len(slopes), len(self.layout), *intensity.shape[1:])
        torch.mul(slopes, scale[:, None], out=jacobian[:, self.layout.focus])
        for part in range(len(self.view.parts)):
            jacobian[:, self.layout.scale.start + part, part] = intensity[:, part] * self.pooled
            jacobian[:, self.layout.background.start + part, part] = self.pooled
            if self.layout.uneven:
                terms = _surface_terms(self.shape).to(jacobian)
                first = self.layout.surface.start + part * len(terms)
                jacobian[:, first : first + len(terms), part] = terms * self.pooled
        return self._lit(intensity, parameters) * self.pooled, jacobian

    def jacobian(
        self, focus_parameters: Float[Tensor, "images {self.layout.focus.stop}"]
    ) -> tuple[Float[Tensor, "images parts pixels"], Float[Tensor, "images {self.layout.focus.stop} parts pixels"]]:
        """The ``intensity`` (B, parts, pixels) and its derivatives (B, layout.focus.stop, parts, pixels)."""
        values, derivatives = self.focus.jacobian(focus_parameters[:, : self._in_focus], self.binning)
        intensity, slopes = torch.stack(values, dim=1), torch.stack(derivatives, dim=2)
        if self.pinhole is None:
            return intensity, slopes
        return self.pinhole.linearize(intensity, slopes, focus_parameters, self.binning)

    @property
    def _in_focus(self) -> int:
        """How many of the parameters the focus takes."""
        return self.focus.steering + len(self.focus.free)

    def _intensity(self, focus_parameters: Tensor, binning: int) -> Tensor:
        """(B, parts, pixels) behind the pinhole."""
        intensity = torch.stack(self.focus(focus_parameters[:, : self._in_focus], binning), dim=1)
        return intensity if self.pinhole is None else self.pinhole(intensity, focus_parameters, binning)

    def _lit(self, intensity: Tensor, parameters: Tensor) -> Tensor:
        """Counts (B, parts, pixels) of a pixel before binning."""
        lit = intensity * parameters[:, self.layout.scale, None] + parameters[:, self.layout.background, None]
        if not self.layout.uneven:
            return lit
        shape = self.shape if intensity.shape[-1] == math.prod(self.shape) else self.view.shape
        terms = _surface_terms(shape).to(lit)
        return lit + parameters[:, self.layout.surface].unflatten(1, (-1, len(terms))) @ terms


def _split(free: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """The parameters of the focus and those of the detection; raises ``InputError`` for these where out of range."""
    detected = {name: most for name, most in free.items() if name in DETECTION_PARAMETERS}
    for name, most in detected.items():
        check_deviation(name, most)
    return {name: most for name, most in free.items() if name not in detected}, detected


@lru_cache
def _surface_terms(shape: tuple[int, ...]) -> Tensor:
    """The terms of an uneven background (5, pixels), each of the mean 0 over a section of this shape."""
    rows, columns = (torch.linspace(-1 + 1 / count, 1 - 1 / count, count) for count in shape)
    y, x = (part.flatten() for part in torch.meshgrid(rows, columns, indexing="ij"))
    terms = torch.stack([x, y, x**2, x * y, y**2])
    return terms - terms.mean(dim=1, keepdim=True)
