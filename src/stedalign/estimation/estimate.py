"""The estimate: the network proposes, the fit finishes, the Fisher matrix says how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.checks import Limits, PictureError, check_picture, cut_off
from stedalign.estimation.fit import FitResult, fit, start_parameters
from stedalign.estimation.propose import Proposal, propose
from stedalign.estimation.two_beads import shows_two_beads
from stedalign.imaging.forward import ForwardModel, ForwardSpec
from stedalign.imaging.nuisances import Nuisances, Prior
from stedalign.imaging.quality import correlation, crest_uniformity, null_ratio
from stedalign.imaging.sections import OrthoSections
from stedalign.networks.network import Network
from stedalign.optics.moving_beam import OFFSETS
from stedalign.optics.target_samples import bandwidth
from stedalign.optics.targets import AXES
from stedalign.optics.wavefront import ModeSet, Wavefront

Floats = NDArray[np.float64]
TOLERANCE, ROUGH_TOLERANCE = 3e-3, 1e-2
"""Of the forward models for wavefronts of 0.35 waves; ordinary ones of 0.12 are good to 1e-4."""
LARGEST_EXCESS = 4.0
"""Standard deviations of chi-squared above which other starts are tried."""
SEARCHES, FINISHED = 16, 3
"""How many other starts, and how many of their ends are worth finishing."""
STEPS, SCREENING_STEPS = 40, 20
"""At most, with the whole model and with the rough one."""
SEARCH_SHARE, SEARCH_WAVES = 0.5, 0.04
"""How far from the proposal they lie: in its own standard deviations, or in waves where it tells none."""
AT_ONCE = 32
"""Pictures that are fitted together."""
SAME_WAVES = 0.01
"""Ends nearer than this are one."""
STARTS = "waves", "shift_nm"


@dataclass(frozen=True, eq=False)
class Estimate:
    """What one picture says about the wavefront."""

    wavefront: Wavefront
    sigma_waves: tuple[float, ...]
    """Standard deviation of each coefficient: the Cramér-Rao bound at the estimate, widened by the misfit."""
    shift_nm: tuple[float, float, float]
    """Displacement of the donut along x, y, z."""
    photons: tuple[float, float, float]
    """Counts at the unaberrated crest, for xy, xz, yz."""
    background: tuple[float, float, float]
    nuisances: dict[str, tuple[float, float]]
    """What else was found, with its standard deviation: the free parameters of ``Focus`` by name."""
    reduced_chi2: float
    accepted: bool
    reason: str
    """Why the estimate was refused; empty when accepted."""
    null_ratio: float
    """Of the beam with the fitted wavefront: no bead, no noise. nan for a pattern without a zero."""
    crest_uniformity: float
    """Lowest over highest crest around the fitted donut's xy section: 1 is an even ring."""
    correlation: float
    """Pearson correlation between the picture and the fitted model."""
    start: str
    """Where the best fit started: "network", "zero", or "search": one of many starts around these."""
    reconstruction: Floats
    """Expected counts of the fitted model, shape (3, N, N)."""
    ideal: Floats
    """The same without aberrations: what the picture should become."""
    simulated: bool

    @property
    def rms_waves(self) -> float:
        return self.wavefront.rms_waves

    @property
    def rms_sigma_waves(self) -> float:
        """Root of the summed variances of all coefficients."""
        return float(np.linalg.norm(self.sigma_waves))

    def to_json(self) -> dict[str, Any]:
        return {
            **self.wavefront.to_json(),
            "sigma_waves": list(self.sigma_waves),
            "rms_waves": self.rms_waves,
            "reduced_chi2": self.reduced_chi2,
            "accepted": self.accepted,
            "reason": self.reason,
            "null_ratio": None if np.isnan(self.null_ratio) else self.null_ratio,
            "crest_uniformity": self.crest_uniformity,
            "correlation": self.correlation,
            "shift_nm": list(self.shift_nm),
            "photons": list(self.photons),
            "background": list(self.background),
            "nuisances": {name: list(found) for name, found in self.nuisances.items()},
            "start": self.start,
            "simulated": self.simulated,
        }


class Estimator:
    """Turns pictures of one instrument into estimates.

    The forward models are built on first use and kept, as are those of the last other sampling.
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
        self._own = Models(spec, modes, self.nuisances)
        self._other = self._own

    def models_for(self, sections: OrthoSections) -> Models:
        sampling = sections.sampling.model_copy(update={"integrate": self.spec.sampling.integrate})
        for models in (self._own, self._other):
            if models.spec.sampling == sampling:
                return models
        self._other = Models(self.spec.model_copy(update={"sampling": sampling}), self.modes, self.nuisances)
        return self._other

    def __call__(self, sections: OrthoSections) -> Estimate:
        """Estimate wavefront, shifts, scales, backgrounds and what else the setup does not know, from one picture.

        Raises ``PictureError`` for a saturated or an empty picture.
        """
        (found,) = self.all([sections])
        if isinstance(found, PictureError):
            raise found
        return found

    def all(self, pictures: Sequence[OrthoSections]) -> list[Estimate | PictureError]:
        """Estimates of many pictures, cheaper together; of one that none can be made from, the reason."""
        found: list[Estimate | PictureError] = []
        for models, some in groupby(pictures, self.models_for):
            several = list(some)
            for first in range(0, len(several), AT_ONCE):
                found += self._some(models, several[first : first + AT_ONCE])
        return found

    def _some(self, models: Models, pictures: Sequence[OrthoSections]) -> list[Estimate | PictureError]:
        found: dict[int, Estimate | PictureError] = {}
        begun: dict[int, tuple[Tensor, Proposal]] = {}
        for index, sections in enumerate(pictures):
            try:
                check_picture(sections, self.saturation, self.read_noise)
            except PictureError as error:
                found[index] = error
                continue
            proposal = None if self.network is None else propose(self.network, sections, self.spec.sampling)
            zero = Proposal(np.zeros(len(self.modes)), np.array(displacement_nm(sections)))
            begun[index] = torch.from_numpy(np.array(sections.data)), proposal or zero
        if begun:
            counts, proposals = zip(*begun.values(), strict=True)
            solutions = self._fit(models, torch.stack(counts), proposals)
            for row, (index, (own, proposal)) in enumerate(begun.items()):
                found[index] = self._finished(models, pictures[index], own[None], proposal, solutions.item(row))
        return [found[index] for index in range(len(pictures))]

    def _finished(
        self, models: Models, sections: OrthoSections, counts: Tensor, proposal: Proposal, solution: FitResult
    ) -> Estimate:
        """The estimate of one picture from its first ``solution``, after a search where that does not explain it."""
        edge, start = cut_off(sections), "zero" if self.network is None else "network"
        if not edge and not self._explains(solution):
            zero = Proposal(np.zeros(len(self.modes)), np.array(displacement_nm(sections)))
            promising = self._screened(models, counts, [zero, *_around(proposal)], float(solution.loss))
            if promising:
                several = self._fit(models, counts.expand(len(promising), -1, -1, -1), promising)
                second = several.item(int(several.loss.nan_to_num(torch.inf).argmin()))
                if float(second.loss) < float(solution.loss):
                    solution, start = second, "search"
        reason = edge or self._refusal(models, sections, counts, solution)
        return self._told(models.model, sections, solution, start, reason)

    def _fit(self, models: Models, counts: Tensor, starts: Sequence[Proposal]) -> FitResult:
        """The fits to ``counts`` (B, 3, N, N), each from its start."""
        model = models.model
        waves, shift = (torch.from_numpy(np.stack([getattr(at, name) for at in starts])) for name in STARTS)
        free = model.focus.rest[model.free].double().repeat(len(starts), 1)
        columns = [model.focus.free.index(name) for name in OFFSETS if name in model.focus.free]
        for row, at in zip(free, starts, strict=True):
            if at.mask_offset is not None and columns:
                row[columns] = torch.from_numpy(at.mask_offset)
        binned = model.binned(counts)
        begin = start_parameters(model, binned, waves, shift, free)
        prior = models.prior(self.read_noise)
        return fit(model, binned, begin, prior=prior, read_noise=self.read_noise, iterations=STEPS)

    def _screened(self, models: Models, counts: Tensor, starts: Sequence[Proposal], loss: float) -> list[Proposal]:
        """The likeliest ends of fits from ``starts`` with a rough model of wavefront and shift alone.

        Those that explain less than another fit with that ``loss`` did are left out.
        """
        model = models.rough
        some = model.binned(counts).expand(len(starts), -1, -1, -1)
        waves, shift = (torch.from_numpy(np.stack([getattr(at, name) for at in starts])) for name in STARTS)
        begin = start_parameters(model, some, waves, shift)
        found = fit(
            model,
            some,
            begin,
            prior=Prior.of(model, None, self.read_noise),
            read_noise=self.read_noise,
            iterations=SCREENING_STEPS,
        )
        ends: list[Proposal] = []
        for place in found.loss.argsort().tolist():
            parameters = found.parameters[place].numpy()
            end = Proposal(parameters[: len(self.modes)], parameters[model.shift])
            new = all(np.linalg.norm(end.waves - other.waves) > SAME_WAVES for other in ends)
            if new and float(found.loss[place]) < loss:
                ends.append(end)
        return ends[:FINISHED]

    def _explains(self, solution: FitResult) -> bool:
        excess = float((solution.reduced_chi2 - 1) / solution.chi2_sigma)
        return bool(solution.converged) and excess < LARGEST_EXCESS

    def _refusal(self, models: Models, sections: OrthoSections, counts: Tensor, found: FitResult) -> str:
        """Why the estimate is not to be trusted; empty if it is."""
        limits, count, chi2 = self.limits, len(self.modes), float(found.reduced_chi2)
        excess = (chi2 - 1) / float(found.chi2_sigma)
        if chi2 > limits.max_reduced_chi2 and excess > LARGEST_EXCESS:
            rough, place = models.rough, torch.tensor(displacement_nm(sections))
            flat = torch.zeros(count, dtype=torch.float64)
            if shows_two_beads(rough, rough.binned(counts), flat, place, found, self.read_noise):
                return "there are two beads in the picture: find a bead that is alone"
            return (
                f"this does not look like this setup's focus (reduced chi2 {chi2:.2f}, at most "
                f"{limits.max_reduced_chi2:g}): check pixel size, pattern, handedness, and that counts are photons"
            )
        if not found.converged:
            return "the fit did not converge"
        if not found.determined:
            return "the picture does not tell all modes and shifts apart: leave a mode out"
        if chi2 < limits.min_reduced_chi2:
            return (
                f"the noise is too small for photon counts (reduced chi2 {chi2:.2f}, at least "
                f"{limits.min_reduced_chi2:g}): give the picture in photons, without averaging or scaling"
            )
        rms = float(found.parameters[0, :count].norm())
        if rms > limits.max_rms_waves:
            return f"the aberration is beyond range: {rms:.3f} waves rms, {limits.max_rms_waves:g} can be trusted"
        sigma = float(found.covariance[0].diagonal()[:count].clamp_min(0).sum().sqrt())
        if sigma > limits.max_sigma_waves:
            return (
                f"the picture is too dim: the wavefront is uncertain by {1e3 * sigma:.0f} mλ, at most "
                f"{1e3 * limits.max_sigma_waves:g} can be trusted; image longer or with more light"
            )
        return ""

    def _told(
        self, model: ForwardModel, sections: OrthoSections, found: FitResult, start: str, reason: str
    ) -> Estimate:
        parameters, count = found.parameters[0], len(self.modes)
        chi2 = float(found.reduced_chi2)
        wavefront = Wavefront(self.modes, tuple(parameters[:count].tolist()))
        # Where the model fails a little, so do its error bars.
        sigmas = found.covariance[0].diagonal().clamp_min(0).sqrt().numpy() * max(1.0, chi2) ** 0.5
        ideal = parameters.clone()
        ideal[:count] = 0
        with torch.no_grad():
            expected = model.unbinned(torch.stack([parameters, ideal]).to(model.focus.scale.dtype)).double().numpy()
        x, y, z = parameters[model.shift].tolist()
        first, second, third = parameters[model.scale].tolist()
        below = parameters[model.background].tolist()
        return Estimate(
            wavefront=wavefront,
            sigma_waves=tuple(sigmas[:count].tolist()),
            shift_nm=(x, y, z),
            photons=(first, second, third),
            background=(below[0], below[1], below[2]),
            nuisances={
                name: (float(parameters[column]), float(sigmas[column]))
                for column, name in enumerate(model.focus.free, model.free.start)
            },
            reduced_chi2=chi2,
            accepted=not reason,
            reason=reason,
            null_ratio=null_ratio(model, wavefront),
            crest_uniformity=crest_uniformity(expected[0, 0]),
            correlation=correlation(sections.data, expected[0]),
            start=start,
            reconstruction=expected[0],
            ideal=expected[1],
            simulated=sections.origin == "SIMULATED",
        )


class Models:
    """The forward models of one sampling, each built on first use."""

    def __init__(self, spec: ForwardSpec, modes: ModeSet, nuisances: Nuisances) -> None:
        self.spec, self.modes, self.nuisances = spec, modes, nuisances

    @cached_property
    def model(self) -> ForwardModel:
        """With all that the setup does not know for sure."""
        nuisances = self.nuisances
        return ForwardModel(
            self.spec,
            self.modes,
            free=nuisances.free(self.spec.beam),
            drifting=nuisances.drift_nm > 0,
            binning=self.binning,
            tolerance=TOLERANCE,
        )

    @cached_property
    def rough(self) -> ForwardModel:
        """Of wavefront and shift alone."""
        return ForwardModel(self.spec, self.modes, binning=self.binning, tolerance=ROUGH_TOLERANCE)

    @property
    def binning(self) -> int:
        """How many pixels fit half the width of the finest detail, so that their sum tells as much as each."""
        sampling, spec = self.spec.sampling, self.spec
        finest = [
            np.pi / bandwidth(spec.objective, direction, spec.beam.wavelength_nm) / 2 / pixel
            for direction, pixel in zip(AXES.values(), sampling.pixel_nm, strict=True)
        ]
        return max(step for step in (1, 2, 4, 8) if step == 1 or (step <= min(finest) and sampling.samples % step == 0))

    def prior(self, read_noise: float) -> Prior:
        return Prior.of(self.model, self.nuisances, read_noise)


def _around(proposal: Proposal) -> list[Proposal]:
    """The proposal, and others near it."""
    sigma = SEARCH_WAVES if proposal.sigma_waves is None else SEARCH_SHARE * proposal.sigma_waves
    drawn = np.random.default_rng(0).normal(size=(SEARCHES, len(proposal.waves))) * sigma
    return [proposal, *(replace(proposal, waves=proposal.waves + row) for row in drawn)]
