"""The estimate: what one image says about the wavefront, how surely, and whether it is to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from stedalign.estimation.bound import BLIND_WAVES
from stedalign.estimation.effects import HALVES, HIGHER_MODES
from stedalign.estimation.expected import Expected, of_observed
from stedalign.estimation.explain import Explanation
from stedalign.estimation.fit import FitResult
from stedalign.estimation.observed import Observed
from stedalign.estimation.recording import Recording
from stedalign.imaging.bead_in_volume import volume_planes
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import Image, Volume
from stedalign.imaging.metrics import correlation, crest_uniformity, null_ratio
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.imaging.photon_transfer import Reading
from stedalign.optics.parameters import HALVES_OFFSETS, HALVES_TILTS
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.optics.zernike import Mode

Floats = NDArray[np.float64]
ACCEPTED, WITH_MODEL_ERROR, REFUSED = "accepted", "accepted with model error", "refused"
TWIN_LOSS, TWIN_SIGMAS, SIGN_SIGMAS = 9.0, 2.0, 3.0
"""A twin is as good as the estimate where it loses no more of twice the log-likelihood than this; modes in which they
differ by more standard deviations are then blind, and so is one that lies fewer of them from zero."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What one image says about the wavefront."""

    wavefront: Wavefront
    noise_sigma_waves: tuple[float, ...]
    """Standard deviation of each coefficient from noise alone: the Cramér-Rao bound at the estimate."""
    model_sigma_waves: tuple[float, ...]
    """Standard deviation of each coefficient from what the model leaves, and between models that explain as much."""
    blind: tuple[Mode, ...]
    """The modes that the image does not tell, or not the sign of; three sections tell all."""
    shift_nm: tuple[float, float, float]
    """Displacement of the donut along x, y, z."""
    photons: tuple[float, ...]
    """Counts at the unaberrated crest, for each part of the image: xy, xz, yz of three sections."""
    background: tuple[float, ...]
    nuisances: dict[str, tuple[float, float]]
    """What else was found, with its standard deviation: the free parameters of ``Focus`` by name."""
    effects: tuple[str, ...]
    """What beside the usual nuisances the image needs, as sections that were left out told, and the halves of the light
    where the setup asks for them."""
    reading: Reading
    """How the image's counts became photons."""
    flaws: tuple[str, ...]
    """Lines and pixels that were left out, in words."""
    reduced_chi2: float
    """Against noise alone."""
    unexplained: float
    """Share of what the image shows, in squares, that neither model nor noise explains."""
    model_error: float
    """Standard deviation of that over the counts at the crest; 0 where noise explains the image."""
    model_error_nm: float
    """Standard deviation of its Gaussian correlation within a section."""
    reason: str
    """Why the estimate was refused; empty when accepted."""
    null_ratio: float
    """Of the beam with the fitted wavefront: no bead, no noise. nan for a pattern without a zero."""
    crest_uniformity: float
    """Lowest over highest crest around the fitted donut's xy section: 1 is an even ring. nan for an image without."""
    correlations: dict[str, float]
    """Pearson correlation between each part of the image and the fitted model, on the pixels that were fitted."""
    start: str
    """Where the best fit started: "network", "zero", "search": one of many starts around these, or "twin": with
    the opposite sign of its even modes."""
    reconstruction: Float[Floats, " parts *pixels"]
    """Expected counts of the fitted model, shape (parts, ...) as in ``Image.counts``."""
    ideal: Float[Floats, " parts *pixels"]
    """The same without aberrations: what the image should become."""
    simulated: bool

    @property
    def correlation(self) -> float:
        """The lowest of the ``correlations``."""
        return min(self.correlations.values())

    @property
    def accepted(self) -> bool:
        return not self.reason

    @property
    def grade(self) -> str:
        """``ACCEPTED``: within noise; ``WITH_MODEL_ERROR``: usable, its error bars say how well; or ``REFUSED``."""
        if self.reason:
            return REFUSED
        return WITH_MODEL_ERROR if self.model_error > 0 else ACCEPTED

    def objection(self, *, strict: bool = False) -> str:
        """Why it is not to be used; empty where it is. ``strict`` also objects to model error."""
        if self.reason or not (strict and self.grade == WITH_MODEL_ERROR):
            return self.reason
        return f"model error: the model misses {self.model_error:.1%} of the crest beyond noise, which strict excludes"

    @property
    def noise_counts(self) -> Float[Floats, " parts *pixels"]:
        """Standard deviation of each pixel of the ``reconstruction`` by noise alone, in counts."""
        photons = self.reading.photons(self.reconstruction)
        # Where next to nothing is expected a single photon would be many deviations.
        return np.asarray(self.reading.gain * np.sqrt(np.clip(photons + self.reading.extra, 1.0, None)))

    @property
    def sigma_waves(self) -> tuple[float, ...]:
        """Standard deviation of each coefficient, of noise and model together."""
        return tuple(np.hypot(self.noise_sigma_waves, self.model_sigma_waves).tolist())

    @property
    def correction(self) -> Wavefront:
        """What undoes the wavefront; modes that the image does not tell stay as they are."""
        modes, waves = self.wavefront.modes, self.wavefront.waves
        correcting = [0.0 if mode in self.blind else -value for mode, value in zip(modes, waves, strict=True)]
        return Wavefront(modes, tuple(correcting))

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
            "blind": [[mode.n, mode.m] for mode in self.blind],
            "rms_waves": self.rms_waves,
            "noise_sigma_waves": list(self.noise_sigma_waves),
            "model_sigma_waves": list(self.model_sigma_waves),
            "reduced_chi2": self.reduced_chi2,
            "unexplained": self.unexplained,
            "model_error": self.model_error,
            "model_error_nm": self.model_error_nm,
            "effects": list(self.effects),
            "detector": self.reading.to_json(),
            "flaws": list(self.flaws),
            "grade": self.grade,
            "accepted": self.accepted,
            "reason": self.reason,
            "null_ratio": None if np.isnan(self.null_ratio) else self.null_ratio,
            "crest_uniformity": None if np.isnan(self.crest_uniformity) else self.crest_uniformity,
            "correlation": self.correlation,
            "correlations": self.correlations,
            "shift_nm": list(self.shift_nm),
            "photons": list(self.photons),
            "background": list(self.background),
            "nuisances": {name: list(value) for name, value in self.nuisances.items()},
            "start": self.start,
            "simulated": self.simulated,
        }


def blind_modes(
    layout: ParameterLayout, solution: FitResult, twins: Sequence[FitResult], explanation: Explanation
) -> tuple[Mode, ...]:
    """The modes that one plane does not tell: too unsure, or not what a twin that explains it as well says.

    Rotationally symmetric modes act there by their squares: they are told only where their sign is beyond doubt.
    """
    modes = layout.mode_set
    sigma = _sigmas(explanation.total_covariance)[layout.modes]
    waves = explanation.solution.parameters[0, layout.modes].numpy()
    symmetric = np.array([mode.m == 0 for mode in modes])
    blind = (sigma > BLIND_WAVES) | symmetric & (np.abs(waves) < SIGN_SIGMAS * sigma)
    for twin in twins:
        if float(twin.loss - solution.loss) < TWIN_LOSS:
            other = twin.parameters[0, layout.modes].numpy()
            blind |= np.abs(other - waves) > TWIN_SIGMAS * np.hypot(sigma, _sigmas(twin.covariance[0])[layout.modes])
            blind |= symmetric & (other * waves <= 0)
    return tuple(mode for mode, unseen in zip(modes, blind, strict=True) if unseen)


def tell(
    explanation: Explanation,
    modes: ModeSet,
    recording: Recording,
    *,
    blind: tuple[Mode, ...],
    start: str,
    reason: str,
) -> Estimate:
    """The estimate of ``modes`` that the ``explanation`` of one image stands for."""
    model, misfit, reading, image = explanation.model, explanation.misfit, recording.reading, recording.image
    parameters, layout = explanation.solution.parameters[0], model.layout
    estimated = slice(0, len(modes))
    noise = _sigmas(explanation.noise_covariance)
    beyond = _sigmas(explanation.misfit_covariance + explanation.spread)
    sigma = np.hypot(noise, beyond)
    wavefront = Wavefront(modes, tuple(parameters[estimated].tolist()))
    halved = bool(layout.columns([*HALVES_OFFSETS, *HALVES_TILTS]))
    seen = _seen(explanation, recording.observed)
    expected = reading.counts(_photons(model, parameters, seen))
    x, y, z = parameters[layout.shift].tolist()
    further = {
        f"mode_{mode.n}_{mode.m}": (float(parameters[column]), float(sigma[column]))
        for column, mode in enumerate(layout.mode_set)
        if column >= len(modes) and HIGHER_MODES in explanation.effects
    }
    free = {
        name: (float(parameters[column]), float(sigma[column]))
        for column, name in enumerate(layout.free_names, layout.free.start)
        if noise[column] > 0
    }
    return Estimate(
        wavefront=wavefront,
        noise_sigma_waves=tuple(noise[estimated].tolist()),
        model_sigma_waves=tuple(beyond[estimated].tolist()),
        blind=blind,
        shift_nm=(x, y, z),
        photons=tuple(parameters[layout.scale].tolist()),
        background=tuple(parameters[layout.background].tolist()),
        nuisances=free | further,
        effects=(*explanation.effects, *([HALVES] if halved else [])),
        reading=reading,
        flaws=recording.flaws.messages,
        reduced_chi2=misfit.reduced_chi2,
        unexplained=misfit.share,
        model_error=misfit.fraction,
        model_error_nm=misfit.length_px * model.binning * model.view.pixel_nm[0],
        reason=reason,
        null_ratio=null_ratio(model, Wavefront(model.modes, tuple(parameters[layout.modes].tolist()))),
        crest_uniformity=_crest_uniformity(image, expected[0], (x, y, z)),
        correlations=_correlations(model, recording.observed, seen),
        start=start,
        reconstruction=expected[0],
        ideal=expected[1],
        simulated=image.simulated,
    )


def _seen(explanation: Explanation, observed: Observed) -> Expected:
    """What is expected of the image, on the model's pixels."""
    model, parameters = explanation.model, explanation.solution.parameters
    with torch.no_grad():
        values = model(parameters.to(model.focus.scale.dtype))
    return of_observed(model.planes, values, parameters, observed.binned(model))


def _photons(model: ForwardModel, parameters: Float[Tensor, " parameters"], seen: Expected) -> Floats:
    """What the image holds (2, parts, ...), and after it what it would without aberrations."""
    ideal = parameters.clone()
    ideal[model.layout.modes] = 0
    with torch.no_grad():
        photons = model.unbinned(torch.stack([parameters, ideal]).to(model.focus.scale.dtype))
    if model.planes is not None and seen.found is not None:
        unsteady = model.planes.unbinned(photons[:1], parameters[None].to(photons), seen.found.amounts)
        photons = torch.cat([unsteady, photons[1:]])
    return np.asarray(photons.double().numpy())


def _correlations(model: ForwardModel, observed: Observed, seen: Expected) -> dict[str, float]:
    binned = observed.binned(model)
    expected = (seen.light.reshape(binned.counts.shape) - binned.extra)[0].numpy()
    parts = zip(model.view.parts, binned.counts[0].numpy(), expected, strict=True)
    return {name: correlation(counts, fitted) for name, counts, fitted in parts}


def _sigmas(covariance: Float[Tensor, "parameters parameters"]) -> Float[Floats, " parameters"]:
    """Standard deviation (P,) of each parameter."""
    return np.asarray(covariance.diagonal().clamp_min(0).sqrt().numpy())


def _crest_uniformity(image: Image, counts: Floats, place_nm: Sequence[float]) -> float:
    """Of the xy section of ``counts`` (parts, ...) nearest to the focus, which lies at ``place_nm``; nan if none."""
    planes = (
        volume_planes(counts[0], image.pixel_nm, place_nm)
        if isinstance(image, Volume)
        else dict(zip(image.view.parts, counts, strict=True))
    )
    return crest_uniformity(planes["xy"]) if "xy" in planes else float("nan")
