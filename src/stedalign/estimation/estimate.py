"""The estimate: what one image says about the wavefront, how surely, and whether it is to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from stedalign.estimation.bound import BLIND_WAVES
from stedalign.estimation.fit import FitResult
from stedalign.imaging.bead_in_volume import volume_planes
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import Image, Volume
from stedalign.imaging.metrics import correlation, crest_uniformity, null_ratio
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.wavefront import Wavefront
from stedalign.optics.zernike import Mode

Floats = NDArray[np.float64]
TWIN_LOSS, TWIN_SIGMAS, SIGN_SIGMAS = 9.0, 2.0, 3.0
"""A twin is as good as the estimate where it loses no more of twice the log-likelihood than this; modes in which they
differ by more standard deviations are then blind, and so is one that lies fewer of them from zero."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What one image says about the wavefront."""

    wavefront: Wavefront
    sigma_waves: tuple[float, ...]
    """Standard deviation of each coefficient: the Cramér-Rao bound at the estimate, widened by the misfit."""
    blind: tuple[Mode, ...]
    """The modes that the image does not tell, or not the sign of; three sections tell all."""
    shift_nm: tuple[float, float, float]
    """Displacement of the donut along x, y, z."""
    photons: tuple[float, ...]
    """Counts at the unaberrated crest, for each part of the image: xy, xz, yz of three sections."""
    background: tuple[float, ...]
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
    """Pearson correlation between the image and the fitted model."""
    start: str
    """Where the best fit started: "network", "zero", "search": one of many starts around these, or "twin": with
    the opposite sign of its even modes."""
    reconstruction: Float[Floats, " parts *pixels"]
    """Expected counts of the fitted model, shape (parts, ...) as in ``Image.counts``."""
    ideal: Float[Floats, " parts *pixels"]
    """The same without aberrations: what the image should become."""
    simulated: bool

    @property
    def correction(self) -> Wavefront:
        """What undoes the wavefront; modes that the image does not tell stay as they are."""
        modes, waves = self.wavefront.modes, self.wavefront.waves
        told = [0.0 if mode in self.blind else -value for mode, value in zip(modes, waves, strict=True)]
        return Wavefront(modes, tuple(told))

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


def sigmas(found: FitResult) -> Float[Floats, " parameters"]:
    """Standard deviation (P,) of each parameter of one fit; where the model fails a little, so do its error bars."""
    widened = max(1.0, float(found.reduced_chi2)) ** 0.5
    return np.asarray(found.covariance[0].diagonal().clamp_min(0).sqrt().numpy() * widened)


def blind_modes(layout: ParameterLayout, found: FitResult, twins: Sequence[FitResult]) -> tuple[Mode, ...]:
    """The modes that one plane does not tell: too unsure, or not what a twin that explains it as well says.

    Rotationally symmetric modes act there by their squares: they are told only where their sign is beyond doubt.
    """
    modes = layout.mode_set
    sigma = sigmas(found)[layout.modes]
    waves = found.parameters[0, layout.modes].numpy()
    symmetric = np.array([mode.m == 0 for mode in modes])
    blind = (sigma > BLIND_WAVES) | symmetric & (np.abs(waves) < SIGN_SIGMAS * sigma)
    for twin in twins:
        if float(twin.loss - found.loss) < TWIN_LOSS:
            other = twin.parameters[0, layout.modes].numpy()
            blind |= np.abs(other - waves) > TWIN_SIGMAS * np.hypot(sigma, sigmas(twin)[layout.modes])
            blind |= symmetric & (other * waves <= 0)
    return tuple(mode for mode, unseen in zip(modes, blind, strict=True) if unseen)


def tell(
    model: ForwardModel, image: Image, found: FitResult, *, blind: tuple[Mode, ...], start: str, reason: str
) -> Estimate:
    """The estimate that one fit of ``model`` to an ``image`` stands for."""
    parameters, layout = found.parameters[0], model.layout
    sigma = sigmas(found)
    wavefront = Wavefront(model.modes, tuple(parameters[layout.modes].tolist()))
    ideal = parameters.clone()
    ideal[layout.modes] = 0
    with torch.no_grad():
        expected = model.unbinned(torch.stack([parameters, ideal]).to(model.focus.scale.dtype)).double().numpy()
    x, y, z = parameters[layout.shift].tolist()
    return Estimate(
        wavefront=wavefront,
        sigma_waves=tuple(sigma[layout.modes].tolist()),
        blind=blind,
        shift_nm=(x, y, z),
        photons=tuple(parameters[layout.scale].tolist()),
        background=tuple(parameters[layout.background].tolist()),
        nuisances={
            name: (float(parameters[column]), float(sigma[column]))
            for column, name in enumerate(layout.free_names, layout.free.start)
        },
        reduced_chi2=float(found.reduced_chi2),
        accepted=not reason,
        reason=reason,
        null_ratio=null_ratio(model, wavefront),
        crest_uniformity=crest_uniformity(_focal_section(image, expected[0], (x, y, z))),
        correlation=correlation(image.counts, expected[0]),
        start=start,
        reconstruction=expected[0],
        ideal=expected[1],
        simulated=image.simulated,
    )


def _focal_section(image: Image, counts: Floats, place_nm: Sequence[float]) -> Floats:
    """The xy section (Y, X) of ``counts`` (parts, ...) nearest to the focus, which lies at ``place_nm``."""
    return volume_planes(counts[0], image.pixel_nm, place_nm)["xy"] if isinstance(image, Volume) else counts[0]
