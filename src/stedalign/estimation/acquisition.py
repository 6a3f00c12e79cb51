"""What to acquire: the bound of each mode from the xy section alone, from three sections and from a whole volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.estimation.bound import covariance, fisher_information
from stedalign.imaging.detector import Detector
from stedalign.imaging.forward import ForwardModel, ForwardSpec
from stedalign.imaging.nuisances import Nuisances, Prior
from stedalign.imaging.sections import PLANES, Sampling
from stedalign.optics.focus import Focus
from stedalign.optics.targets import Grid, section
from stedalign.optics.wavefront import ModeSet, Wavefront

Floats = NDArray[np.float64]
Progress = Callable[[str], None]
"""Is told what is being done."""
XY, SECTIONS, VOLUME = "xy", "sections", "volume"

BLIND_WAVES = 0.030
"""A mode that a picture tells no better than this is not seen in it."""
BEFORE_WAVES, BEFORE_NM = 1.0, 1e4
"""Standard deviations of each mode and of the shift before any picture: what is not seen at all stays finite."""
TOLERANCE = 3e-3
"""Of the models; bounds are then good to a part in a thousand."""
MOST_PIXELS = 128**3
"""Of a volume, whose derivatives have to fit the memory."""
PIXELS_AT_ONCE = 1 << 16
"""Whose derivatives are weighed together, in float64."""


@dataclass(frozen=True, eq=False)
class PictureBound:
    """What one kind of picture can tell: lowest standard deviations of unbiased estimates, in rms waves."""

    modes: ModeSet
    pixels: int
    """How many are scanned: the dose, since each of them takes the same light."""
    known: Floats
    """(modes,), of an instrument that is exactly as its setup says."""
    unsure: Floats
    """(modes,), of one that is known only as well as the setup's nuisances say."""

    def to_json(self) -> dict[str, Any]:
        """``blind`` lists the modes [n, m] beyond ``BLIND_WAVES``."""
        return {"pixels": self.pixels, "known": self._told(self.known), "unsure": self._told(self.unsure)}

    def _told(self, sigma: Floats) -> dict[str, Any]:
        blind = [pair for pair, value in zip(self.modes.pairs, sigma, strict=True) if value > BLIND_WAVES]
        return {"sigma_waves": sigma.tolist(), "total_waves": total(sigma), "blind": blind}


@dataclass(frozen=True, eq=False)
class Bounds:
    """The bounds of one instrument, for each kind of picture: "xy", "sections" and, where asked for, "volume"."""

    modes: ModeSet
    photons: float
    """Counts at the unaberrated crest, per pixel, the same in every kind of picture."""
    background: float
    """As a fraction of ``photons``."""
    wavefronts: int
    """At how many the bounds were taken; they are the root mean square over these."""
    rms_waves: float
    """Their strength, the root mean square as well."""
    pictures: dict[str, PictureBound]

    def at_equal_dose(self, name: str) -> float:
        """Total of a known instrument if the light of the three sections went to the pixels of this picture instead.

        Exact without read noise.
        """
        picture = self.pictures[name]
        return total(picture.known) * float(np.sqrt(picture.pixels / self.pictures[SECTIONS].pixels))

    def to_json(self) -> dict[str, Any]:
        return {
            "modes": self.modes.pairs,
            "photons": self.photons,
            "background": self.background,
            "wavefronts": self.wavefronts,
            "rms_waves": self.rms_waves,
            "blind_waves": BLIND_WAVES,
            "pictures": {
                name: picture.to_json() | {"known_total_at_equal_dose_waves": self.at_equal_dose(name)}
                for name, picture in self.pictures.items()
            },
        }


def total(sigma: Floats) -> float:
    """Root of the summed variances."""
    return float(np.linalg.norm(sigma))


def random_wavefronts(modes: ModeSet, rms_waves: float, count: int, generator: np.random.Generator) -> list[Wavefront]:
    """``count`` wavefronts of exactly this strength, all directions alike; of strength 0 there is but one.

    Raises ``ValueError`` for a strength that is no number from 0.
    """
    if not 0 <= rms_waves < np.inf:
        raise ValueError(f"the strength of a wavefront must be a number from 0, got {rms_waves} waves rms")
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
    progress: Progress = lambda step: None,
) -> Bounds:
    """The Cramér-Rao bounds (Kay 1993, section 3.7) at ``wavefronts``, with the light and noise of ``detector``.

    Of a known instrument the modes, the shift, and scale and background of each section are unknown. Of an unsure one
    so is what ``nuisances.free`` names and the drift of the sections; the inverse of their variances is added to the
    Fisher matrix, as for random parameters (Van Trees 1968, section 2.4). A volume is one exposure with one scale and
    one background, in which nothing drifts. Raises ``ValueError`` for no wavefronts, for wavefronts on different modes
    and for a volume of more than ``MOST_PIXELS``.
    """
    if not wavefronts or any(wavefront.modes != wavefronts[0].modes for wavefront in wavefronts):
        raise ValueError("a bound needs wavefronts, all of them on the same modes")
    modes, samples = wavefronts[0].modes, spec.sampling.samples
    if volume and samples**3 > MOST_PIXELS:
        raise ValueError(f"a volume of {samples} x {samples} x {samples} pixels is too large; leave the volume out")
    strengths = np.array([wavefront.rms_waves for wavefront in wavefronts])
    free, strength = nuisances.free(spec.beam), max(0.1, 1.25 * float(strengths.max()))
    progress("planning the sections")
    model = ForwardModel(
        spec, modes, free=free, drifting=nuisances.drift_nm > 0, tolerance=TOLERANCE, strength_waves=strength
    )
    cube = None
    if volume:
        progress("planning the volume")
        cube = _Volume(spec, modes, free, strength, model.focus.scale)
    known = torch.ones(len(model.names), dtype=torch.bool)
    known[model.drift] = known[model.free] = False
    prior = Prior.of(model, nuisances).precision
    prior[: len(modes)], prior[model.shift] = BEFORE_WAVES**-2, BEFORE_NM**-2
    # Of the sections' parameters those that a volume has, too.
    shared = [
        *range(model.drift.start),
        *range(model.free.start, model.free.stop),
        model.scale.start,
        model.background.start,
    ]
    found: dict[str, list[Floats]] = {name: [] for name in (XY, SECTIONS, *([VOLUME] if volume else []))}
    for number, wavefront in enumerate(wavefronts, 1):
        progress(f"wavefront {number} of {len(wavefronts)}")
        planes = _of_planes(model, wavefront, detector)
        found[XY].append(_sigmas(planes[PLANES.index("xy")], prior, known, len(modes)))
        found[SECTIONS].append(_sigmas(planes.sum(0), prior, known, len(modes)))
        if cube is not None:
            information = cube.information(wavefront, detector)
            found[VOLUME].append(_sigmas(information, prior[shared], known[shared], len(modes)))
    pixels = {XY: samples**2, SECTIONS: len(PLANES) * samples**2, VOLUME: samples**3}
    pictures = {
        name: PictureBound(modes, pixels[name], *np.sqrt(np.square(sigmas).mean(axis=0)))
        for name, sigmas in found.items()
    }
    rms = float(np.sqrt(np.square(strengths).mean()))
    return Bounds(modes, detector.photons, detector.background, len(wavefronts), rms, pictures)


def _of_planes(model: ForwardModel, wavefront: Wavefront, detector: Detector) -> Tensor:
    """Fisher matrices (3, P, P) of the xy, xz and yz section at the beam's own parameters."""
    parameters = torch.zeros(1, len(model.names))
    parameters[:, : model.free.stop] = model.focus.rest
    parameters[:, : len(wavefront.modes)] = torch.from_numpy(wavefront.array)
    parameters[:, model.scale] = detector.photons
    parameters[:, model.background] = detector.photons * detector.background
    with torch.no_grad():
        expected, jacobian = model.linearize(parameters)
    # A section's counts tell nothing about another one, so each is an item of a batch.
    return fisher_information(jacobian[0].transpose(0, 1), expected[0], detector.read_noise)


def _sigmas(information: Tensor, prior: Tensor, known: Tensor, modes: int) -> Floats:
    """(2, modes) of a Fisher matrix (P, P): with only the parameters ``known`` (P,) to find, and with all of them."""
    posterior = information + torch.diag(prior)
    # What neither picture nor prior says anything about, as the light of a section that is not there, is no unknown.
    told = posterior.diagonal() > 0
    found = []
    for some in (known & told, told):
        variances = covariance(posterior[some][:, some][None])[0].diagonal()
        found.append(variances[:modes].clamp_min(0).sqrt().numpy())
    return np.stack(found)


class _Volume:
    """All pixels of the sampling's cube, as one exposure."""

    def __init__(
        self, spec: ForwardSpec, modes: ModeSet, free: dict[str, float], strength_waves: float, crest: Tensor
    ) -> None:
        """``crest`` is the scale of the sections' focus, in whose crest the photons are counted."""
        self.focus = Focus(
            spec.objective,
            spec.beam,
            modes,
            [_cube(spec.sampling)],
            bead_diameter_nm=spec.bead.diameter_nm,
            free=free,
            tolerance=TOLERANCE,
            strength_waves=strength_waves,
        ).float()
        self.brightness = float(crest / self.focus.scale)

    def information(self, wavefront: Wavefront, detector: Detector) -> Tensor:
        """Fisher matrix (P, P): modes, shift, free parameters, scale, background."""
        parameters = self.focus.rest[None].clone()
        parameters[:, : len(wavefront.modes)] = torch.from_numpy(wavefront.array)
        with torch.no_grad():
            (intensity,), (slopes,) = self.focus.jacobian(parameters)
        size = slopes.shape[1] + 2
        information = torch.zeros(size, size, dtype=torch.float64)
        for some, along in zip(intensity.split(PIXELS_AT_ONCE, 1), slopes.split(PIXELS_AT_ONCE, 2), strict=True):
            relative = some[:, None] * self.brightness
            light = along * (self.brightness * detector.photons), relative, torch.ones_like(relative)
            expected = detector.photons * (relative + detector.background)
            information += fisher_information(torch.cat(light, dim=1), expected, detector.read_noise)[0]
        return information


def _cube(sampling: Sampling) -> Grid:
    return section("zyx", (sampling.samples,) * 3, sampling.pixel_nm[::-1], integrate=sampling.integrate)
