"""From pictures to estimates: the network proposes, the fit finishes, the Fisher matrix says how sure it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.checks import LARGEST_EXCESS, Limits, PictureError, check_picture, cut_off, refusal
from stedalign.estimation.estimate import Estimate, blind_modes, tell
from stedalign.estimation.fit import FitResult, fit, start_parameters
from stedalign.estimation.models import Models, models_of
from stedalign.estimation.propose import Proposal, propose
from stedalign.estimation.search import PROMISING_CHI2, likely_starts
from stedalign.estimation.two_beads import shows_two_beads
from stedalign.imaging.forward import ForwardSpec
from stedalign.imaging.nuisances import Nuisances
from stedalign.imaging.pictures import Picture, Volume
from stedalign.imaging.volumes import sections_through_bead
from stedalign.networks.network import Network
from stedalign.optics.moving_beam import OFFSETS
from stedalign.optics.wavefront import ModeSet

STEPS, MORE_STEPS = 40, 80
"""Of a fit at most, and of one that is not done by then but near."""
PIXELS_AT_ONCE = 100_000
"""Of pictures that are fitted together."""
STARTING = "waves", "shift_nm"
NETWORK, ZERO, SEARCH, TWIN = "network", "zero", "search", "twin"


@dataclass(frozen=True, eq=False)
class Begun:
    """A picture that can be estimated, and where its fit starts."""

    picture: Picture
    counts: Tensor
    """(parts, ...)."""
    proposal: Proposal
    start: str


class Estimator:
    """Turns pictures of one instrument into estimates.

    The forward models are built on first use and kept.
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

    def models_for(self, picture: Picture) -> Models:
        view = picture.view.model_copy(update={"integrate": self.spec.sampling.integrate})
        return models_of(self.spec, view, self.modes, self.nuisances)

    def __call__(self, picture: Picture) -> Estimate:
        """Estimate wavefront, shifts, scales, backgrounds and what else the setup does not know, from one picture.

        Three sections tell all of it. The xy section alone tells neither sign nor size of some modes, which the
        estimate calls blind: the fit also starts from the opposite sign of its even modes, and the likelier end is
        kept. Raises ``PictureError`` for a saturated or an empty picture.
        """
        (found,) = self.all([picture])
        if isinstance(found, PictureError):
            raise found
        return found

    def all(self, pictures: Sequence[Picture]) -> list[Estimate | PictureError]:
        """Estimates of many pictures, cheaper together; of one that none can be made from, the reason."""
        found: list[Estimate | PictureError] = []
        for models, some in groupby(pictures, self.models_for):
            several = list(some)
            at_once = max(1, PIXELS_AT_ONCE * models.binning ** len(models.view.shape) // models.view.pixels)
            for first in range(0, len(several), at_once):
                found += self._some(models, several[first : first + at_once])
        return found

    def _some(self, models: Models, pictures: Sequence[Picture]) -> list[Estimate | PictureError]:
        found: dict[int, Estimate | PictureError] = {}
        begun: dict[int, Begun] = {}
        for index, picture in enumerate(pictures):
            try:
                begun[index] = self._begin(picture)
            except PictureError as error:
                found[index] = error
        if begun:
            counts = torch.stack([each.counts for each in begun.values()])
            solutions = self._fit(models, counts, [each.proposal for each in begun.values()])
            for row, (index, each) in enumerate(begun.items()):
                found[index] = self._finish(models, each, solutions.item(row))
        return [found[index] for index in range(len(pictures))]

    def _begin(self, picture: Picture) -> Begun:
        """Raises ``PictureError`` where there is nothing to estimate."""
        check_picture(picture, self.saturation, self.read_noise)
        counts = torch.from_numpy(np.array(picture.counts))
        proposal = None if self.network is None else propose(self.network, picture, self.spec.sampling)
        if proposal is None:
            return Begun(picture, counts, self._zero(picture), ZERO)
        return Begun(picture, counts, proposal, NETWORK)

    def _zero(self, picture: Picture) -> Proposal:
        return Proposal(np.zeros(len(self.modes)), np.array(displacement_nm(picture)))

    def _finish(self, models: Models, begun: Begun, solution: FitResult) -> Estimate:
        """The estimate of one picture from its first ``solution``, after a search where that does not explain it."""
        picture, counts, start, twin = begun.picture, begun.counts[None], begun.start, None
        if not _explains(solution):
            other = self._searched(models, begun, solution)
            if other is not None:
                solution, start = other, SEARCH
        if "z" not in models.view.axes:
            twin = self._fit(models, counts, [_twin(self.modes, solution, models)])
            if float(twin.loss) < float(solution.loss):
                solution, twin, start = twin, solution, TWIN
        blind = blind_modes(self.modes, solution, twin)

        def two_beads() -> bool:
            rough, flat = models.rough, torch.zeros(len(self.modes), dtype=torch.float64)
            place = torch.tensor(displacement_nm(picture))
            return shows_two_beads(rough, rough.binned(counts), flat, place, solution, self.read_noise)

        edge = cut_off(picture, solution.parameters[0, models.model.shift].tolist() if _explains(solution) else None)
        reason = edge or refusal(self.modes, solution, blind, models.view, self.limits, two_beads)
        return tell(models.model, picture, solution, blind=blind, start=start, reason=reason)

    def _searched(self, models: Models, begun: Begun, solution: FitResult) -> FitResult | None:
        """The first fit from another start that explains the picture, else the likeliest; None where none is likelier.

        Of a volume the search is among its sections, which are far fewer pixels.
        """
        picture, counts, best = begun.picture, begun.counts[None], None
        starts: Iterable[Proposal]
        if isinstance(picture, Volume):
            starts = self._from_sections(picture)
        else:
            rough = models.rough
            starts = likely_starts(rough, rough.binned(counts), begun.proposal, self._zero(picture), self.read_noise)
        least = float(solution.loss)
        for start in starts:
            found = self._fit(models, counts, [start])
            if float(found.loss) < least:
                best, least = found, float(found.loss)
            if _explains(found):
                break
        return best

    def _from_sections(self, volume: Volume) -> list[Proposal]:
        """What the sections of a volume say, if they say anything."""
        try:
            sections, middle = sections_through_bead(volume)
            found = self(sections)
        except ValueError:
            return []
        z, y, x = (
            (at - (count - 1) / 2) * pixel
            for at, count, pixel in zip(middle, volume.data.shape, volume.pixel_nm[::-1], strict=True)
        )
        offset = [found.nuisances[name][0] for name in OFFSETS if name in found.nuisances]
        shift = np.array(found.shift_nm) + np.array([x, y, z])
        return [Proposal(found.wavefront.array, shift, mask_offset=np.array(offset) if offset else None)]

    def _fit(self, models: Models, counts: Tensor, starts: Sequence[Proposal]) -> FitResult:
        """The fits to ``counts`` (B, parts, ...), each from its start."""
        model, prior = models.model, models.prior(self.read_noise)
        waves, shift = (torch.from_numpy(np.stack([getattr(at, name) for at in starts])) for name in STARTING)
        free = model.focus.rest[model.free].double().repeat(len(starts), 1)
        columns = [model.focus.free.index(name) for name in OFFSETS if name in model.focus.free]
        for row, at in zip(free, starts, strict=True):
            if at.mask_offset is not None and columns:
                row[columns] = torch.from_numpy(at.mask_offset)
        binned = model.binned(counts)
        begin = start_parameters(model, binned, waves, shift, free)
        found = fit(model, binned, begin, prior=prior, read_noise=self.read_noise, iterations=STEPS)
        late = ~found.converged & (found.reduced_chi2 < PROMISING_CHI2)
        if late.any():
            more = fit(
                model,
                binned[late],
                found.parameters[late],
                prior=prior,
                read_noise=self.read_noise,
                iterations=MORE_STEPS,
            )
            found = found.with_rows(late, more)
        return found


def _explains(solution: FitResult) -> bool:
    excess = float((solution.reduced_chi2 - 1) / solution.chi2_sigma)
    return bool(solution.converged) and excess < LARGEST_EXCESS


def _twin(modes: ModeSet, solution: FitResult, models: Models) -> Proposal:
    """The wavefront that looks alike in focus: of a scalar flat beam, W(-x, -y) with the opposite sign does."""
    parameters = solution.parameters[0].numpy()
    signs = np.array([1.0 if mode.m % 2 else -1.0 for mode in modes])
    return Proposal(parameters[: len(modes)] * signs, parameters[models.model.shift] * [1.0, 1.0, -1.0])
