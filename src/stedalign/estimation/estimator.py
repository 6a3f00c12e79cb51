"""From images to estimates: the network proposes, the fit finishes, and what it leaves says how far to believe it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from stedalign.errors import InputError
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.checks import ImageError, Limits, check_image, cut_off, refusal
from stedalign.estimation.estimate import Estimate, blind_modes, tell
from stedalign.estimation.explain import Explanation, explained, explained_by_pinhole
from stedalign.estimation.fit import FitResult, explains
from stedalign.estimation.fits import fit_from, place, twins
from stedalign.estimation.hypotheses import better_light, better_scan, shows_two_beads
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.models import Models, models_of
from stedalign.estimation.observed import Observed
from stedalign.estimation.propose import Proposal, propose
from stedalign.estimation.recording import Recording, record
from stedalign.estimation.search import likely_starts
from stedalign.imaging.bead_in_volume import sections_through_bead
from stedalign.imaging.detector import Detector
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Image, Volume
from stedalign.imaging.nuisances import Nuisances
from stedalign.networks.network import Network
from stedalign.optics.parameters import MASK_OFFSETS
from stedalign.optics.wavefront import ModeSet
from stedalign.optics.zernike import Mode

PIXELS_AT_ONCE = 100_000
"""Of images that are fitted together."""
NETWORK, ZERO, SEARCH, TWIN = "network", "zero", "search", "twin"


@dataclass(frozen=True, eq=False)
class Finding:
    """What explains an image, and what speaks against it."""

    recording: Recording
    explanation: Explanation
    start: str
    """Where the fit began that ended here: ``NETWORK``, ``ZERO``, ``SEARCH`` or ``TWIN``."""
    better: str = ""
    """What would explain the image better, in words."""
    blind: tuple[Mode, ...] = ()
    """The modes that the image does not tell."""


@dataclass(frozen=True, eq=False)
class Begun:
    """An image that can be estimated, and where its fit starts."""

    recording: Recording
    start: Proposal
    source: str
    """``NETWORK`` or ``ZERO``."""

    @property
    def image(self) -> Image:
        return self.recording.image

    @property
    def observed(self) -> Observed:
        return self.recording.observed


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
        detector: Detector | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.spec = spec
        self.modes = modes
        self.nuisances = nuisances or Nuisances()
        self.network = network
        self.detector = detector or Detector()
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

    def find(self, image: Image) -> Finding:
        """What explains one image, of which ``told`` makes an estimate. Raises ``ImageError`` as a call does."""
        (finding,) = self._together(self.models_for(image), [image])
        if isinstance(finding, ImageError):
            raise finding
        return finding

    def told(self, finding: Finding) -> Estimate:
        """The estimate that a finding stands for."""
        recording, explanation = finding.recording, finding.explanation
        _, shift = place(explanation.model.layout, explanation.solution)
        settled = explanation.misfit.share <= self.limits.max_unexplained
        reason = (
            cut_off(recording.image, shift.tolist() if settled else None)
            or finding.better
            or refusal(explanation, self.modes, finding.blind, self.nuisances, recording.reading, self.limits)
        )
        return tell(explanation, self.modes, recording, blind=finding.blind, start=finding.start, reason=reason)

    def all(self, images: Sequence[Image]) -> list[Estimate | ImageError]:
        """Estimates of many images, cheaper together; of one that none can be made from, the reason."""
        estimates: list[Estimate | ImageError] = []
        for models, group in groupby(images, self.models_for):
            alike = list(group)
            at_once = max(1, PIXELS_AT_ONCE * models.binning ** len(models.view.shape) // models.view.pixels)
            for first in range(0, len(alike), at_once):
                for finding in self._together(models, alike[first : first + at_once]):
                    estimates.append(finding if isinstance(finding, ImageError) else self.told(finding))
        return estimates

    def _together(self, models: Models, images: Sequence[Image]) -> list[Finding | ImageError]:
        findings: dict[int, Finding | ImageError] = {}
        for index, image in enumerate(images):
            try:
                check_image(image, self.detector.saturation)
            except ImageError as error:
                findings[index] = error
        fine = [index for index in range(len(images)) if index not in findings]
        if fine:
            begun = self._begin([images[index] for index in fine])
            observed = Observed.joined([each.observed for each in begun])
            solutions = fit_from(models, observed, [each.start for each in begun])
            for row, index in enumerate(fine):
                findings[index] = self._finish(models, begun[row], solutions.item(row))
        return [findings[index] for index in range(len(images))]

    def _begin(self, images: Sequence[Image]) -> list[Begun]:
        unsteady = any(self.nuisances.unsteady)
        recordings = [record(image, self.spec, self.detector, unsteady=unsteady) for image in images]
        proposals: Sequence[Proposal | None] = [None] * len(images)
        if self.network is not None:
            proposals = propose(self.network, [each.image for each in recordings], self.spec.sampling)
        return [
            Begun(recording, self._zero(recording.image), ZERO)
            if proposal is None
            else Begun(recording, proposal, NETWORK)
            for recording, proposal in zip(recordings, proposals, strict=True)
        ]

    def _zero(self, image: Image) -> Proposal:
        return Proposal(np.zeros(len(self.modes)), np.array(displacement_nm(image)))

    def _finish(self, models: Models, begun: Begun, solution: FitResult) -> Finding:
        """What explains one image from its first ``solution``, after a search where that does not explain it."""
        if "z" not in models.view.axes:
            return self._finish_plane(models, begun, solution)
        start, better = begun.source, ""
        if not self._explains(solution):
            misfit = _misfit(models, begun, solution)
            better = better_light(models, begun.observed, solution, misfit)
            if not better:
                # A narrow pinhole looks like other pixels, so it is asked first.
                narrowed = self._explained_by_pinhole(models, begun, solution)
                if narrowed is not None:
                    return Finding(begun.recording, narrowed, start)
                better = better_scan(models, begun.observed, begun.image, solution, misfit, self._propose)
            if not better and misfit.share > self.limits.max_unexplained:
                other = self._searched(models, begun, solution, self.limits.search_generations)
                if other is not None:
                    solution, start = other, SEARCH
            better = better or self._two_beads(models, begun, solution)
        explanation = self._explained(models, begun.observed, solution, plainly=bool(better))
        return Finding(begun.recording, explanation, start, better)

    def _finish_plane(self, models: Models, begun: Begun, solution: FitResult) -> Finding:
        """The same of an xy section, which cannot tell some wavefronts apart."""
        observed, start = begun.observed, begun.source
        # So few pixels as one section has fit false minima, too.
        generations = self.limits.search_generations
        other = self._searched(
            models, begun, solution, min(1, generations) if self._explains(solution) else generations
        )
        if other is not None:
            solution, start = other, SEARCH
        ends = fit_from(models, observed.repeated(2), twins(models.layout, solution))
        alike = [ends.item(row) for row in range(2)]
        likeliest = min(alike, key=lambda twin: float(twin.loss))
        if float(likeliest.loss) < float(solution.loss):
            alike = [solution, *(twin for twin in alike if twin is not likeliest)]
            solution, start = likeliest, TWIN
        better = ""
        if not self._explains(solution):
            misfit = _misfit(models, begun, solution)
            better = better_light(models, observed, solution, misfit)
            better = better or better_scan(models, observed, begun.image, solution, misfit, self._propose)
            better = better or self._two_beads(models, begun, solution)
        explanation = self._explained(models, observed, solution, plainly=True)
        blind = blind_modes(models.layout, solution, alike, explanation)
        return Finding(begun.recording, explanation, start, better, blind)

    def _explains(self, solution: FitResult) -> bool:
        """Whether noise may be all that one fit leaves."""
        return explains(solution, self.limits.max_reduced_chi2)

    def _explained_by_pinhole(self, models: Models, begun: Begun, solution: FitResult) -> Explanation | None:
        starts = [begun.start, self._zero(begun.image)]
        most_chi2 = self.limits.max_reduced_chi2
        return explained_by_pinhole(models, begun.observed, solution, starts, most_chi2=most_chi2)

    def _explained(self, models: Models, observed: Observed, solution: FitResult, *, plainly: bool) -> Explanation:
        return explained(models, observed, solution, most_chi2=self.limits.max_reduced_chi2, plainly=plainly)

    def _searched(self, models: Models, begun: Begun, solution: FitResult, generations: int) -> FitResult | None:
        """The first fit from another start that explains the image, else the likeliest; None where none is better.

        Of a volume the search is among its sections, which are far fewer pixels.
        """
        image, observed, best = begun.image, begun.observed, None
        starts: Iterable[Proposal]
        if isinstance(image, Volume):
            starts = self._from_sections(image)
        else:
            rough = models.rough
            starts = likely_starts(
                rough, observed.binned(rough), begun.start, self._zero(image), generations=generations
            )
        least = float(solution.loss)
        for start in starts:
            candidate = fit_from(models, observed, [start])
            likelier = float(candidate.loss) < least
            if self._explains(candidate):
                return candidate if likelier or not self._explains(solution) else best
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

    def _two_beads(self, models: Models, begun: Begun, solution: FitResult) -> str:
        """Whether two beads do, in words."""
        if self._explains(solution):
            return ""
        misfit = _misfit(models, begun, solution)
        two = shows_two_beads(models, begun.observed, begun.image, misfit)
        return "there are two beads in the image: find a bead that is alone" if two else ""

    def _propose(self, images: Sequence[Image]) -> list[Proposal]:
        """Where fits of these images start."""
        return [begun.start for begun in self._begin(images)]


def _misfit(models: Models, begun: Begun, solution: FitResult) -> Misfit:
    """What one fit leaves of an image."""
    model = models.for_fit(solution)
    return Misfit.of_fit(model, begun.observed.binned(model), solution.parameters, len(model.layout))
