"""Estimators on images of instruments that are not as their setup says, in one respect after the other.

The images come from the simulated microscope, which shares no code with the models of the estimators. Wavefronts,
places, light and background are those of the evaluated data and noise. Each image has the same wavefront, seeds and
directions of the mismatch at every level, so that a curve tells of the mismatch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stedalign.errors import InputError
from stedalign.estimation.checks import ImageError, Limits
from stedalign.estimation.estimator import Estimator as FullEstimator
from stedalign.evaluation.bounds import Linearized
from stedalign.evaluation.comparison import ESTIMATORS, FIT, HYBRID, NETWORK
from stedalign.evaluation.errors import BATCH, WAVEFRONT, Track, untracked
from stedalign.evaluation.estimators import Estimator, fit_from
from stedalign.evaluation.mismatch import MISMATCHES, Directions, Mismatch
from stedalign.evaluation.test_set import KnownImages
from stedalign.imaging.detector import Detector, NoiseSpec
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES, OrthoSections
from stedalign.imaging.nuisances import Nuisances
from stedalign.networks.network import Network
from stedalign.optics.wavefront import Wavefront
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.instrument import Instrument, SimulatedSetup
from stedalign.simulator.microscope import build

Floats = NDArray[np.float64]
Step = tuple[Mismatch, float] | None
"""A mismatch and its level; None where the instrument is as its setup says."""
Estimation = Callable[[Sequence[OrthoSections]], Floats]
"""From images to wavefronts (images, modes) in rms waves."""


class MismatchedSetup(SimulatedSetup, Protocol):
    """The parts of a setup that tell the instrument, and how surely."""

    @property
    def forward(self) -> ForwardSpec: ...
    @property
    def nuisances(self) -> Nuisances: ...
    @property
    def limits(self) -> Limits: ...


@dataclass(frozen=True)
class Curve:
    """Median total errors against the levels of one mismatch."""

    axis: str
    own: float
    """The level at which the instrument is as its setup says."""
    levels: tuple[float, ...]
    medians: Mapping[str, list[float]]
    """In rms waves, by estimator."""


@dataclass(frozen=True)
class AgainstMismatch:
    """What estimators make of the same wavefronts seen by other and other instruments."""

    images: int
    """At each level."""
    bound: float
    """Median total bound (rms waves) of an instrument that is as its setup says."""
    curves: Mapping[str, Curve]
    """By mismatch."""

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "bound_median_total_waves": self.bound,
            "mismatches": {
                name: {"axis": curve.axis, "levels": list(curve.levels), "median_total_waves": dict(curve.medians)}
                for name, curve in self.curves.items()
            },
        }


def why_not(setup: MismatchedSetup, network: Network, noise: NoiseSpec) -> str:
    """Why nothing can be told against mismatch; empty if it can."""
    planes: tuple[str, ...] = tuple(getattr(network.module, "planes", PLANES))
    if network.outputs.modes is None:
        return "the network predicts no modes"
    if planes != PLANES:
        return f"the network sees {' '.join(planes)} alone"
    if not noise.photons:
        return "there is no photon noise"
    try:
        _take(setup, HiddenWorld(aberration=Wavefront.zero(network.outputs.modes)), noise, seed=0)
    except ValueError as error:
        return str(error)
    return ""


def against_mismatch(
    setup: MismatchedSetup,
    network: Network,
    known: KnownImages,
    noise: NoiseSpec,
    *,
    images: int,
    seed: int = 0,
    names: Sequence[str] = ESTIMATORS,
    mismatches: Mapping[str, Mismatch] = MISMATCHES,
    track: Track = untracked,
) -> AgainstMismatch:
    """Estimate the first known wavefronts from ``images`` images at each level of each mismatch.

    ``NETWORK`` and ``FIT`` are those of ``judge``: the fit knows of nothing but what the data vary. ``HYBRID`` is here
    the whole ``Estimator``, which finds also what the setup's nuisances leave open. Raises ``InputError`` where
    ``why_not`` tells a reason.
    """
    if reason := why_not(setup, network, noise):
        raise InputError(f"nothing can be told against mismatch: {reason}")
    count = min(images, len(known))
    bound = Linearized(known, count, noise.background_fraction, track).bounds(noise)[WAVEFRONT].median_total
    microscopes = _Microscopes(setup, known, noise, seed, count)
    estimators = {name: each for name, each in _estimators(setup, network, known, noise).items() if name in names}
    beam = setup.depletion
    steps: list[Step] = [None]
    steps += [(each, at) for each in mismatches.values() for at in each.levels(beam) if at != each.own(beam)]
    totals: dict[Step, dict[str, list[float]]] = {step: {name: [] for name in estimators} for step in steps}
    jobs = [(step, range(first, min(first + BATCH, count))) for step in steps for first in range(0, count, BATCH)]
    for job in track(range(len(jobs)), "against each mismatch"):
        step, places = jobs[job]
        sections = [microscopes.image(place, step) for place in places]
        for name, estimate in estimators.items():
            errors = estimate(sections) - known.waves[places.start : places.stop]
            totals[step][name] += np.linalg.norm(errors, axis=1).tolist()
    curves = {}
    for title, mismatch in mismatches.items():
        own, levels = mismatch.own(beam), mismatch.levels(beam)
        found = [totals[None if at == own else (mismatch, at)] for at in levels]
        medians = {name: [float(np.median(each[name])) for each in found] for name in estimators}
        curves[title] = Curve(mismatch.axis, own, levels, medians)
    return AgainstMismatch(count, bound, curves)


class _Microscopes:
    """A simulated microscope for each of the first known images."""

    def __init__(self, setup: MismatchedSetup, known: KnownImages, noise: NoiseSpec, seed: int, count: int) -> None:
        self.setup, self.known, self.noise = setup, known, noise
        self.places_nm = known.true_parameters(count)[:, known.model.layout.shift].tolist()
        self.seeds = [np.random.SeedSequence([seed, place]) for place in range(count)]

    def image(self, place: int, step: Step) -> OrthoSections:
        seed, facts = self.seeds[place], {}
        if step is not None:
            mismatch, level = step
            facts = mismatch.hide(level, Directions.draw(np.random.default_rng(seed)))
        aberration = Wavefront(self.known.model.modes, tuple(self.known.waves[place].tolist()))
        hidden = HiddenWorld(aberration=aberration, bead_nm=tuple(self.places_nm[place]), **facts)
        return _take(self.setup, hidden, self.noise, int(seed.generate_state(1)[0]))


def _take(setup: MismatchedSetup, hidden: HiddenWorld, noise: NoiseSpec, seed: int) -> OrthoSections:
    """Raises ``InputError`` for optics that the simulated microscope does not know."""
    light = {"photons": noise.photons, "background": noise.background_fraction, "read_noise": noise.uneven_counts}
    # Nothing saturates, as in a dataset.
    detector = Detector.parse(light | {"saturation": np.inf})
    microscope = build(Instrument.of(setup).model_copy(update={"detector": detector}), hidden, seed)
    microscope.shutter.open()
    return microscope.source.acquire()


def _estimators(
    setup: MismatchedSetup, network: Network, known: KnownImages, noise: NoiseSpec
) -> dict[str, Estimation]:
    read_noise, modes = noise.uneven_counts, known.model.modes
    whole = FullEstimator(
        setup.forward, modes, nuisances=setup.nuisances, network=network, read_noise=read_noise, limits=setup.limits
    )

    def of_counts(estimator: Estimator) -> Estimation:
        def estimate(sections: Sequence[OrthoSections]) -> Floats:
            waves = estimator(torch.from_numpy(np.stack([each.data for each in sections])).float()).waves
            if waves is None:
                raise InputError("no wavefront to compare")
            return np.asarray(waves.double().numpy())

        return estimate

    def of_whole(sections: Sequence[OrthoSections]) -> Floats:
        # An image that nothing can be told from leaves the wavefront as it is.
        none = np.zeros(len(modes))
        return np.stack([none if isinstance(one, ImageError) else one.wavefront.array for one in whole.all(sections)])

    fit = fit_from(known, read_noise=read_noise)
    return {NETWORK: of_counts(network.predict_all), FIT: of_counts(fit), HYBRID: of_whole}
