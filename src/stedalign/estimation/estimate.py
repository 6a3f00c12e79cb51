"""The estimate: the network proposes, the fit finishes, the Fisher matrix says how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.fit import fit, start_parameters
from stedalign.estimation.propose import Proposal, propose
from stedalign.imaging.forward import ForwardModel, ForwardSpec
from stedalign.imaging.quality import correlation, crest_uniformity, null_ratio
from stedalign.imaging.sections import PLANES, OrthoSections
from stedalign.networks.network import Network
from stedalign.optics.spec import Spec
from stedalign.optics.wavefront import ModeSet, Wavefront

Floats = NDArray[np.float64]


class PictureError(ValueError):
    """A picture that no estimate can be made from, with the reason and what to do about it."""


class Limits(Spec):
    """When an estimate is trusted."""

    min_reduced_chi2: float = Field(0.7, ge=0, lt=1)
    """Below this the numbers are no photon counts, and the error bars would be wrong."""
    max_reduced_chi2: float = Field(1.5, gt=1)
    """Above this the model does not explain the picture. A tolerance for model error, not a test: noise alone stays
    within 1 +- 0.05."""
    max_rms_waves: float = Field(0.5, gt=0)
    """Above this the wavefront is beyond what the model was built for, and the estimate is refused."""


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
    """Where the best fit started: "network" or "zero"."""
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
            "start": self.start,
            "simulated": self.simulated,
        }


class Estimator:
    """Turns pictures of one instrument into estimates.

    The forward model is built on first use and kept; pictures of another sampling get a model of their own.
    """

    def __init__(
        self,
        spec: ForwardSpec,
        modes: ModeSet,
        *,
        network: Network | None = None,
        read_noise: float = 0.0,
        saturation: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.spec = spec
        self.modes = modes
        self.network = network
        self.read_noise = read_noise
        self.saturation = saturation
        self.limits = limits or Limits()

    @cached_property
    def model(self) -> ForwardModel:
        return ForwardModel(self.spec, self.modes)

    def model_for(self, sections: OrthoSections) -> ForwardModel:
        sampling = sections.sampling.model_copy(update={"integrate": self.spec.sampling.integrate})
        if sampling == self.spec.sampling:
            return self.model
        return ForwardModel(self.spec.model_copy(update={"sampling": sampling}), self.modes)

    def __call__(self, sections: OrthoSections) -> Estimate:
        """Estimate wavefront, shifts, scales and backgrounds of one picture.

        Raises ``PictureError`` for a saturated or an empty picture.
        """
        check_picture(sections, self.saturation, self.read_noise)
        model = self.model_for(sections)
        starts = {"zero": Proposal(np.zeros(len(self.modes)), np.array(displacement_nm(sections)))}
        if self.network is not None:
            proposal = propose(self.network, sections, self.spec.sampling)
            if proposal is not None:
                starts["network"] = proposal

        counts = torch.from_numpy(np.array(sections.data)).expand(len(starts), -1, -1, -1)
        shift = torch.from_numpy(np.stack([start.shift_nm for start in starts.values()]))
        waves = torch.from_numpy(np.stack([start.waves for start in starts.values()]))
        start = start_parameters(model, counts, waves, shift)
        result = fit(model, counts, start, read_noise=self.read_noise)

        best = int(result.deviance.argmin())
        parameters = result.parameters[best]
        count = len(self.modes)
        chi2 = float(result.reduced_chi2[best])
        wavefront = Wavefront(self.modes, tuple(parameters[:count].tolist()))
        sigma = result.covariance[best].diagonal()[:count].clamp_min(0).sqrt().numpy() * max(1.0, chi2) ** 0.5
        ideal = parameters.clone()
        ideal[:count] = 0
        with torch.no_grad():
            expected = model(torch.stack([parameters, ideal]).to(model.focus.scale.dtype)).double().numpy()
        reason = self._refusal(wavefront, chi2, bool(result.converged[best]), bool(result.determined[best]))
        x, y, z = parameters[model.shift].tolist()
        first, second, third = parameters[model.scale].tolist()
        below = parameters[model.background].tolist()
        return Estimate(
            wavefront=wavefront,
            sigma_waves=tuple(sigma.tolist()),
            shift_nm=(x, y, z),
            photons=(first, second, third),
            background=(below[0], below[1], below[2]),
            reduced_chi2=chi2,
            accepted=not reason,
            reason=reason,
            null_ratio=null_ratio(model, wavefront),
            crest_uniformity=crest_uniformity(expected[0, 0]),
            correlation=correlation(sections.data, expected[0]),
            start=list(starts)[best],
            reconstruction=expected[0],
            ideal=expected[1],
            simulated=sections.origin == "SIMULATED",
        )

    def _refusal(self, wavefront: Wavefront, chi2: float, converged: bool, determined: bool) -> str:
        if not determined:
            return "the picture does not tell all modes and shifts apart: leave a mode out"
        if chi2 > self.limits.max_reduced_chi2:
            return (
                f"the model does not explain the picture (reduced chi2 {chi2:.2f}, at most "
                f"{self.limits.max_reduced_chi2:g}): check pixel size, pattern, handedness, and that counts are photons"
            )
        if not converged:
            return "the fit did not converge"
        if chi2 < self.limits.min_reduced_chi2:
            return (
                f"the noise is too small for photon counts (reduced chi2 {chi2:.2f}, at least "
                f"{self.limits.min_reduced_chi2:g}): give the picture in photons, without averaging or scaling"
            )
        if wavefront.rms_waves > self.limits.max_rms_waves:
            return (
                f"{wavefront.rms_waves:.3f} waves rms is beyond the {self.limits.max_rms_waves:g} that can be trusted"
            )
        return ""


def check_picture(sections: OrthoSections, saturation: float | None = None, read_noise: float = 0.0) -> None:
    """Raise ``PictureError`` where the picture is clipped, empty or no raw picture.

    Clipped: at the known saturation level, or, whatever the level, 0.3 % of all pixels sharing the maximum. Empty:
    the means of 4x4 blocks scatter no more than the noise of single pixels, read off neighboring differences,
    allows; that needs no gain.
    """
    data = sections.data
    levels = [level for level in (sections.saturation, saturation) if level is not None]
    level = min(levels, default=None)
    if data.max() == data.min():
        raise PictureError("the picture is empty: every pixel has the same value")
    if data.min() < -8 * read_noise:
        raise PictureError(f"counts below zero ({data.min():g}): give the raw picture, without background subtracted")
    clipped = int((data >= level).sum()) if level is not None else 0
    if clipped:
        raise PictureError(
            f"the picture is saturated: {clipped} pixels at {level:g} counts; lower the laser power or gain"
        )
    shared = int((data == data.max()).sum())
    if shared > max(24, 0.003 * data.size) and data.max() > 2 * np.median(data):
        raise PictureError(
            f"the picture looks saturated: {shared} pixels share the highest value, {data.max():g}; "
            "lower the laser power or gain"
        )
    for name, section in zip(PLANES, data, strict=True):
        size = section.shape[0] // 4 * 4
        blocks = section[:size, :size].reshape(size // 4, 4, size // 4, 4).mean(axis=(1, 3))
        noise = np.square(np.diff(section, axis=1)).mean() / 2
        if blocks.var() * 16 < 2 * noise:
            raise PictureError(f"the {name} section is empty: no focus stands out of its noise; find the bead first")
