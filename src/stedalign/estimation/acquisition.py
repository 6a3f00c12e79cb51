"""What to acquire: the bound of each mode from the xy section alone, from three sections and from a whole volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.estimation.bound import BLIND_WAVES, Bound, covariance, fisher_information
from stedalign.imaging.detector import Detector
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES, VOLUME, View
from stedalign.imaging.nuisances import Nuisances, Prior
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.progress import SILENT, Progress

Floats = NDArray[np.float64]
XY, SECTIONS = "xy", "sections"

BEFORE_WAVES, BEFORE_NM = 1.0, 1e4
"""Standard deviations of each mode and of the shift before any image: what is not seen at all stays finite."""
TOLERANCE = 3e-3
"""Of the models; bounds are then good to a part in a thousand."""
MOST_PIXELS = 128**3
"""Of a volume, whose derivatives have to fit the memory."""
PIXELS_AT_ONCE = 1 << 16
"""Whose derivatives are weighed together, in float64."""


@dataclass(frozen=True, eq=False)
class ImageBound:
    """What one kind of image can tell of each mode, in rms waves, at each of the wavefronts."""

    modes: ModeSet
    pixels: int
    """How many are scanned: the dose, since each of them takes the same light."""
    known: Bound
    """Of an instrument that is exactly as its setup says."""
    unsure: Bound
    """Of one that is known only as well as the setup's nuisances say."""

    def to_json(self) -> dict[str, Any]:
        """``blind`` lists the modes [n, m] beyond ``BLIND_WAVES``."""
        return {"pixels": self.pixels, "known": self._figures(self.known), "unsure": self._figures(self.unsure)}

    def _figures(self, bound: Bound) -> dict[str, Any]:
        blind = [pair for pair, value in zip(self.modes.pairs, bound.rms, strict=True) if value > BLIND_WAVES]
        return {"sigma_waves": bound.rms.tolist(), "total_waves": bound.rms_total, "blind": blind}


@dataclass(frozen=True, eq=False)
class Bounds:
    """The bounds of one instrument, for each kind of image: "xy", "sections" and, where asked for, "volume"."""

    modes: ModeSet
    photons: float
    """Counts at the unaberrated crest, per pixel, the same in every kind of image."""
    background: float
    """As a fraction of ``photons``."""
    wavefronts: int
    """At how many the bounds were taken; they are the root mean square over these."""
    rms_waves: float
    """Their strength, the root mean square as well."""
    images: dict[str, ImageBound]

    def at_equal_dose(self, name: str) -> float:
        """Total of a known instrument if the light of the three sections went to the pixels of this image instead.

        Exact without read noise.
        """
        image = self.images[name]
        return image.known.rms_total * float(np.sqrt(image.pixels / self.images[SECTIONS].pixels))

    def to_json(self) -> dict[str, Any]:
        return {
            "modes": self.modes.pairs,
            "photons": self.photons,
            "background": self.background,
            "wavefronts": self.wavefronts,
            "rms_waves": self.rms_waves,
            "blind_waves": BLIND_WAVES,
            "images": {
                name: image.to_json() | {"known_total_at_equal_dose_waves": self.at_equal_dose(name)}
                for name, image in self.images.items()
            },
        }


def random_wavefronts(modes: ModeSet, rms_waves: float, count: int, generator: np.random.Generator) -> list[Wavefront]:
    """``count`` wavefronts of exactly this strength, all directions alike; of strength 0 there is but one.

    Raises ``InputError`` for a strength that is no number from 0.
    """
    if not 0 <= rms_waves < np.inf:
        raise InputError(f"the strength of a wavefront must be a number from 0, got {rms_waves} waves rms")
    if rms_waves == 0:
        return [Wavefront.zero(modes)]
    drawn = generator.normal(size=(count, len(modes)))
    drawn *= rms_waves / np.linalg.norm(drawn, axis=1, keepdims=True)
    return [Wavefront(modes, tuple(row)) for row in drawn.tolist()]


def acquisition_bounds(
    spec: ForwardSpec,
    wavefronts: Sequence[Wavefront],
    detector: Detector,
    nuisances: Nuisances,
    *,
    volume: bool = True,
    progress: Progress = SILENT,
) -> Bounds:
    """The Cramér-Rao bounds (Kay 1993, section 3.7) at ``wavefronts``, with the light and noise of ``detector``.

    Of a known instrument the modes, the shift, and scale and background of each section are unknown. Of an unsure one
    so is what ``nuisances.free`` names and the drift of the sections; the inverse of their variances is added to the
    Fisher matrix, as for random parameters (Van Trees 1968, section 2.4). A volume is one exposure with one scale and
    one background, in which nothing drifts. Raises ``InputError`` for no wavefronts, for wavefronts on different modes
    and for a volume of more than ``MOST_PIXELS``.
    """
    if not wavefronts or any(wavefront.modes != wavefronts[0].modes for wavefront in wavefronts):
        raise InputError("a bound needs wavefronts, all of them on the same modes")
    modes, samples = wavefronts[0].modes, spec.sampling.samples
    if volume and samples**3 > MOST_PIXELS:
        raise InputError(f"a volume of {samples} x {samples} x {samples} pixels is too large; leave the volume out")
    strengths = np.array([wavefront.rms_waves for wavefront in wavefronts])
    free, strength = nuisances.free(spec.beam, detection=spec.detection), max(0.1, 1.25 * float(strengths.max()))

    def planned(view: View, drifting: bool) -> ForwardModel:
        return ForwardModel(
            spec, modes, view=view, free=free, drifting=drifting, tolerance=TOLERANCE, strength_waves=strength
        )

    progress("planning the sections")
    sections = planned(spec.sampling.view, nuisances.drift_nm > 0)
    unknown, prior = _unknown(sections), _prior(sections, nuisances)
    cube = None
    if volume:
        progress("planning the volume")
        shape = (samples,) * 3
        cube = planned(spec.sampling.view.model_copy(update={"parts": (VOLUME,), "shape": shape}), False)
    sigmas_of: dict[str, list[Floats]] = {name: [] for name in (XY, SECTIONS, *([VOLUME] if volume else []))}
    for wavefront in progress.over(wavefronts, "wavefronts"):
        parts = _information(sections, wavefront, detector, 1.0)
        sigmas_of[XY].append(_sigmas(parts[PLANES.index("xy")], prior, unknown, sections.layout.modes))
        sigmas_of[SECTIONS].append(_sigmas(parts.sum(0), prior, unknown, sections.layout.modes))
        if cube is not None:
            # Photons are those at the crest of the sections, which the cube's pixels may miss.
            (whole,) = _information(cube, wavefront, detector, float(sections.focus.scale / cube.focus.scale))
            sigmas_of[VOLUME].append(_sigmas(whole, _prior(cube, nuisances), _unknown(cube), cube.layout.modes))
    pixels = {XY: samples**2, SECTIONS: len(PLANES) * samples**2, VOLUME: samples**3}
    images = {
        name: ImageBound(modes, pixels[name], *map(Bound, np.stack(sigmas, axis=1)))
        for name, sigmas in sigmas_of.items()
    }
    rms = float(np.sqrt(np.square(strengths).mean()))
    return Bounds(modes, detector.photons, detector.background, len(wavefronts), rms, images)


def _unknown(model: ForwardModel) -> Tensor:
    """Which parameters (P,) even an instrument leaves open that is exactly as its setup says."""
    unknown = torch.ones(len(model.layout), dtype=torch.bool)
    unknown[model.layout.drift] = unknown[model.layout.free] = False
    return unknown


def _prior(model: ForwardModel, nuisances: Nuisances) -> Tensor:
    """Inverse variances (P,) before any image."""
    prior = Prior.of(model, nuisances).precision
    prior[model.layout.modes], prior[model.layout.shift] = BEFORE_WAVES**-2, BEFORE_NM**-2
    return prior


def _information(model: ForwardModel, wavefront: Wavefront, detector: Detector, brightness: float) -> Tensor:
    """Fisher matrices (parts, P, P) of each part of an image by itself, at the beam's own parameters.

    ``brightness`` is what the detector calls its photons over the model's crest.
    """
    layout = model.layout
    parameters = torch.zeros(1, len(layout))
    parameters[:, layout.focus] = layout.pack_focus(torch.from_numpy(wavefront.array)[None].float())
    parameters[:, layout.scale] = detector.photons * brightness
    parameters[:, layout.background] = detector.photons * detector.background
    with torch.no_grad():
        (expected,), (jacobian,) = model.linearize(parameters)
    information = torch.zeros(len(expected), *[len(layout)] * 2, dtype=torch.float64)
    for some, along in zip(expected.split(PIXELS_AT_ONCE, -1), jacobian.split(PIXELS_AT_ONCE, -1), strict=True):
        # A part's counts tell nothing about another one, so each is an item of a batch.
        information += fisher_information(along.transpose(0, 1), some, detector.read_photons)
    return information


def _sigmas(information: Tensor, prior: Tensor, unknown: Tensor, modes: slice) -> Floats:
    """(2, modes) of a Fisher matrix (P, P): with only the parameters ``unknown`` (P,) to find, and with all of them."""
    posterior = information + torch.diag(prior)
    # What neither image nor prior says anything about, as the light of a section that is not there, is no unknown.
    determined = posterior.diagonal() > 0
    sigmas = []
    for columns in (unknown & determined, determined):
        variances = covariance(posterior[columns][:, columns][None])[0].diagonal()
        sigmas.append(variances[modes].clamp_min(0).sqrt().numpy())
    return np.stack(sigmas)
