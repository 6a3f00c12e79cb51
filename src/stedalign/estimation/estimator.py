"""From images to estimates: the network proposes, the fit finishes, the Fisher matrix says how sure it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.checks import LARGEST_EXCESS, ImageError, Limits, check_image, cut_off, refusal
from stedalign.estimation.estimate import Estimate, blind_modes, tell
from stedalign.estimation.fit import FitResult, fit, with_light
from stedalign.estimation.models import Models, models_of
from stedalign.estimation.propose import Proposal, propose
from stedalign.estimation.search import PROMISING_CHI2, likely_starts
from stedalign.estimation.two_beads import shows_two_beads
from stedalign.imaging.bead_in_volume import sections_through_bead
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Image, Volume
from stedalign.imaging.nuisances import Nuisances, Prior
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.networks.network import Network
from stedalign.optics.parameters import MASK_OFFSETS
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]
FIT_STEPS, LATE_FIT_STEPS = 40, 80
"""Of a fit at most, and of one that is not done by then but near."""
PIXELS_AT_ONCE = 100_000
"""Of images that are fitted together."""
START_FIELDS = "waves", "shift_nm"
NETWORK, ZERO, SEARCH, TWIN = "network", "zero", "search", "twin"


@dataclass(frozen=True, eq=False)
class Begun:
    """An image that can be estimated, and where its fit starts."""

    image: Image
    counts: Tensor
    """(parts, ...)."""
    start: Proposal
    source: str
    """``NETWORK`` or ``ZERO``."""


class Estimator:
    """Turns images of one instrument into estimates.

    The forward models are built on first use; those of the last few instruments and views are kept.
    """

    def __init__(
        self,
        spec: ForwardSpec,
        modes: ModeSet,
        *,
        nuisances: Nuisances | None = None,
        network: Network | None = None,
        read_noise: float = 0.0,
        saturation: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.spec = spec
        self.modes = modes
        self.nuisances = nuisances or Nuisances()
        self.network = network
        self.read_noise = read_noise
        self.saturation = saturation
        self.limits = limits or Limits()

    def models_for(self, image: Image) -> Models:
        view = image.view.model_copy(update={"integrate": self.spec.sampling.integrate})
        return models_of(self.spec, view, self.modes, self.nuisances)

    def __call__(self, image: Image) -> Estimate:
        """Estimate wavefront, shifts, scales, backgrounds and what else the setup does not know, from one image.

        Three sections tell all of it. The xy section alone tells neither sign nor size of some modes, which the
        estimate calls blind: the fit also starts from the opposite signs, and the likelier end is kept. Raises
        ``ImageError`` for a saturated or an empty image.
        """
        (estimate,) = self.all([image])
        if isinstance(estimate, ImageError):
            raise estimate
        return estimate

    def all(self, images: Sequence[Image]) -> list[Estimate | ImageError]:
        """Estimates of many images, cheaper together; of one that none can be made from, the reason."""
        estimates: list[Estimate | ImageError] = []
        for models, group in groupby(images, self.models_for):
            alike = list(group)
            at_once = max(1, PIXELS_AT_ONCE * models.binning ** len(models.view.shape) // models.view.pixels)
            for first in range(0, len(alike), at_once):
                estimates += self._together(models, alike[first : first + at_once])
        return estimates

    def _together(self, models: Models, images: Sequence[Image]) -> list[Estimate | ImageError]:
        estimates: dict[int, Estimate | ImageError] = {}
        for index, image in enumerate(images):
            try:
                check_image(image, self.saturation, self.read_noise)
            except ImageError as error:
                estimates[index] = error
        fine = [index for index in range(len(images)) if index not in estimates]
        if fine:
            begun = self._begin([images[index] for index in fine])
            solutions = self._fit(models, torch.stack([each.counts for each in begun]), [each.start for each in begun])
            for row, index in enumerate(fine):
                estimates[index] = self._finish(models, begun[row], solutions.item(row))
        return [estimates[index] for index in range(len(images))]

    def _begin(self, images: Sequence[Image]) -> list[Begun]:
        proposals: Sequence[Proposal | None] = [None] * len(images)
        if self.network is not None:
            proposals = propose(self.network, images, self.spec.sampling)
        return [
            Begun(
                image,
                torch.from_numpy(np.array(image.counts)),
                self._zero(image) if proposal is None else proposal,
                ZERO if proposal is None else NETWORK,
            )
            for image, proposal in zip(images, proposals, strict=True)
        ]

    def _zero(self, image: Image) -> Proposal:
        return Proposal(np.zeros(len(self.modes)), np.array(displacement_nm(image)))

    def _finish(self, models: Models, begun: Begun, solution: FitResult) -> Estimate:
        """The estimate of one image from its first ``solution``, after a search where that does not explain it."""
        image, counts, start = begun.image, begun.counts[None], begun.source
        flat = "z" not in models.view.axes
        generations = self.limits.search_generations
        if _explains(solution):
            # So few pixels as one section has fit false minima, too.
            generations = min(1, generations) if flat else 0
        other = self._searched(models, begun, solution, generations) if generations else None
        if other is not None:
            solution, start = other, SEARCH
        twins: list[FitResult] = []
        if flat:
            ends = self._fit(models, counts.expand(2, *counts.shape[1:]), _twins(models.layout, solution))
            twins = [ends.item(row) for row in range(2)]
            likeliest = min(twins, key=lambda twin: float(twin.loss))
            if float(likeliest.loss) < float(solution.loss):
                twins = [solution, *(twin for twin in twins if twin is not likeliest)]
                solution, start = likeliest, TWIN
        blind = blind_modes(models.layout, solution, twins) if flat else ()

        def two_beads() -> bool:
            rough, middle = models.rough, torch.tensor(displacement_nm(image))
            return shows_two_beads(rough, rough.binned(counts), middle, solution, self.read_noise)

        waves, shift = _place(models.layout, solution)
        edge = cut_off(image, shift.tolist() if _explains(solution) else None)
        reason = edge or refusal(models.layout, solution, blind, models.view, self.limits, two_beads)
        model = models.strong if models.is_strong(float(np.linalg.norm(waves))) else models.ordinary
        return tell(model, image, solution, blind=blind, start=start, reason=reason)

    def _searched(self, models: Models, begun: Begun, solution: FitResult, generations: int) -> FitResult | None:
        """The first fit from another start that explains the image, else the likeliest; None where none is better.

        Of a volume the search is among its sections, which are far fewer pixels.
        """
        image, counts, best = begun.image, begun.counts[None], None
        starts: Iterable[Proposal]
        if isinstance(image, Volume):
            starts = self._from_sections(image)
        else:
            rough = models.rough
            starts = likely_starts(
                rough,
                rough.binned(counts),
                begun.start,
                self._zero(image),
                generations=generations,
                read_noise=self.read_noise,
            )
        least = float(solution.loss)
        for start in starts:
            candidate = self._fit(models, counts, [start])
            likelier = float(candidate.loss) < least
            if _explains(candidate):
                return candidate if likelier or not _explains(solution) else best
            if likelier:
                best, least = candidate, float(candidate.loss)
        return best

    def _from_sections(self, volume: Volume) -> list[Proposal]:
        """What the sections of a volume say, if they say anything."""
        try:
            sections, middle = sections_through_bead(volume)
        except InputError:
            return []
        (estimate,) = self.all([sections])
        if isinstance(estimate, ImageError):
            return []
        z, y, x = (
            (at - (count - 1) / 2) * pixel
            for at, count, pixel in zip(middle, volume.data.shape, volume.pixel_nm[::-1], strict=True)
        )
        offset = [estimate.nuisances[name][0] for name in MASK_OFFSETS if name in estimate.nuisances]
        shift = np.array(estimate.shift_nm) + np.array([x, y, z])
        return [Proposal(estimate.wavefront.array, shift, mask_offset=np.array(offset) if offset else None)]

    def _fit(self, models: Models, counts: Tensor, starts: Sequence[Proposal]) -> FitResult:
        """The fits to ``counts`` (B, parts, ...), each from its start with the model for its strength.

        One that turns out stronger than its model is for is finished by the other.
        """
        strong = [models.is_strong(float(np.linalg.norm(start.waves))) for start in starts]
        order: list[int] = []
        parts = []
        for tier in sorted(set(strong)):
            rows = [row for row, is_strong in enumerate(strong) if is_strong == tier]
            model = models.strong if tier else models.ordinary
            begin = _start_parameters(model, model.binned(counts[rows]), [starts[row] for row in rows])
            parts.append(self._fit_with(model, counts[rows], begin))
            order += rows
        solutions = FitResult.joined(parts).rows(np.argsort(order).tolist())
        outgrown = [
            row
            for row, rms in enumerate(solutions.parameters[:, models.layout.modes].norm(dim=1).tolist())
            if models.is_strong(rms) and not strong[row]
        ]
        if outgrown:
            refitted = self._fit_with(models.strong, counts[outgrown], solutions.parameters[outgrown])
            solutions = solutions.with_rows(outgrown, refitted)
        return solutions

    def _fit_with(self, model: ForwardModel, counts: Tensor, begin: Tensor) -> FitResult:
        """The fits from parameters ``begin`` (B, P); those that are near their end after many steps get some more."""
        binned, prior = model.binned(counts), Prior.of(model, self.nuisances, self.read_noise)
        solutions = fit(model, binned, begin, prior=prior, read_noise=self.read_noise, iterations=FIT_STEPS)
        late = (~solutions.converged & (solutions.reduced_chi2 < PROMISING_CHI2)).nonzero()[:, 0].tolist()
        if late:
            begin = solutions.parameters[late]
            more = fit(model, binned[late], begin, prior=prior, read_noise=self.read_noise, iterations=LATE_FIT_STEPS)
            solutions = solutions.with_rows(late, more)
        return solutions


def _start_parameters(model: ForwardModel, binned: Tensor, starts: Sequence[Proposal]) -> Tensor:
    """Parameters (B, P) of fits to ``binned`` counts: what each start says, the rest as the setup says."""
    waves, shift = (torch.from_numpy(np.stack([getattr(at, name) for at in starts])) for name in START_FIELDS)
    layout = model.layout
    begin = layout.pack_focus(waves.double(), shift)
    for row, at in zip(begin, starts, strict=True):
        if at.mask_offset is not None and layout.mask_offset:
            row[layout.mask_offset] = torch.from_numpy(at.mask_offset)
    return with_light(model, binned, begin)


def _explains(solution: FitResult) -> bool:
    excess = float((solution.reduced_chi2 - 1) / solution.chi2_sigma)
    return bool(solution.converged) and excess < LARGEST_EXCESS


def _twins(layout: ParameterLayout, solution: FitResult) -> list[Proposal]:
    """Wavefronts that look alike in the focal plane, or nearly so.

    With the opposite sign of its rotationally symmetric modes, which act there by their squares; and with that of all
    even ones, as W(-x, -y) of the opposite sign does for a scalar beam without a vortex.
    """
    waves, shift = _place(layout, solution)
    symmetric, even = ([mode.m == 0 for mode in layout.mode_set], [mode.m % 2 == 0 for mode in layout.mode_set])
    return [Proposal(np.where(flipped, -waves, waves), shift * [1.0, 1.0, -1.0]) for flipped in (symmetric, even)]


def _place(layout: ParameterLayout, solution: FitResult) -> tuple[Floats, Floats]:
    """Coefficients (modes,) and shift (3,) of one fit."""
    parameters = solution.parameters[0].numpy()
    return parameters[layout.modes], parameters[layout.shift]
