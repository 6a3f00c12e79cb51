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
from stedalign.estimation.estimator import Estimator as WholeEstimator
from stedalign.evaluation.bounds import LinearizedImages
from stedalign.evaluation.errors import WAVEFRONT
from stedalign.evaluation.estimators import ESTIMATORS, FIT, HYBRID, NETWORK, TITLES, Estimator, fit_estimator
from stedalign.evaluation.test_set import IMAGES_AT_ONCE, KnownImages
from stedalign.imaging.detector import Detector, NoiseSpec
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES, OrthoSections
from stedalign.imaging.nuisances import Nuisances
from stedalign.networks.network import Network
from stedalign.optics.beam import Beam
from stedalign.optics.wavefront import Wavefront
from stedalign.progress import SILENT, Progress
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.instrument import Instrument, SimulatedSetup
from stedalign.simulator.microscope import build

Floats = NDArray[np.float64]
ESTIMATE = "estimate"
"""The whole ``Estimator``, as ``stedalign estimate`` runs it."""
UNDER_MISMATCH = {NETWORK: NETWORK, FIT: FIT, HYBRID: ESTIMATE}
"""What runs in the place of each estimator, and in files under its key."""
MISMATCH_TITLES = {NETWORK: TITLES[NETWORK], FIT: TITLES[FIT], ESTIMATE: "whole estimate"}
Estimation = Callable[[Sequence[OrthoSections]], Floats]
"""From images to wavefronts (images, modes) in rms waves."""
LEVELS = 5
"""Of each mismatch, evenly spaced."""
LEAST_FILL = 0.9


@dataclass(frozen=True)
class Directions:
    """Which way one instrument is off, at every level the same."""

    mask: tuple[float, float]
    """A unit vector (x, y)."""
    pixels: tuple[float, float, float]
    """+1 or -1 along x, y, z."""

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Directions:
        angle = generator.uniform(0, 2 * np.pi)
        x, y, z = generator.choice([-1.0, 1.0], size=3).tolist()
        return cls((float(np.cos(angle)), float(np.sin(angle))), (x, y, z))


def _none(beam: Beam) -> float:
    return 0.0


@dataclass(frozen=True)
class Mismatch:
    """One thing that an instrument may hide."""

    axis: str
    """What its levels are, with their unit."""
    most: float
    hide: Callable[[float, Directions], dict[str, Any]]
    """What ``HiddenWorld`` has at a level."""
    nominal: Callable[[Beam], float] = _none
    """The level at which the instrument is as its setup says."""

    def levels(self, beam: Beam) -> tuple[float, ...]:
        """Evenly from 0 to the ``most``, and the nominal one."""
        return tuple(sorted({self.nominal(beam), *np.linspace(0, self.most, LEVELS).tolist()}))


MISMATCHES = {
    "fill": Mismatch(
        f"1 / fill² ({LEAST_FILL**-2:.2f} is fill {LEAST_FILL:g})",
        LEAST_FILL**-2,
        lambda level, _: {"fill": level**-0.5 if level else np.inf},
        lambda beam: float(beam.fill**-2),
    ),
    "drift": Mismatch("drift after each section (nm)", 30, lambda level, _: {"drift_nm": level}),
    "blur": Mismatch("blur (nm)", 40, lambda level, _: {"blur_nm": level}),
    "ellipticity": Mismatch("ellipticity error (degrees)", 8, lambda level, _: {"ellipticity_error_deg": level}),
    "mask offset": Mismatch(
        "mask offset (pupil radii)", 0.15, lambda level, way: {"mask_shift": tuple(level * part for part in way.mask)}
    ),
    "pixel size": Mismatch(
        "error of the pixel size (%)", 3, lambda level, way: {"pixel_error": tuple(level / 100 * s for s in way.pixels)}
    ),
}

Step = tuple[Mismatch, float] | None
"""A mismatch and its level; None where the instrument is as its setup says."""


class MismatchedSetup(SimulatedSetup, Protocol):
    """The parts of a setup that tell the instrument, and how surely."""

    @property
    def forward(self) -> ForwardSpec: ...
    @property
    def nuisances(self) -> Nuisances: ...
    @property
    def limits(self) -> Limits: ...


@dataclass(frozen=True)
class MismatchCurve:
    """Median total errors against the levels of one mismatch."""

    axis: str
    nominal: float
    """The level at which the instrument is as its setup says."""
    levels: tuple[float, ...]
    medians: Mapping[str, list[float]]
    """In rms waves, by estimator."""


@dataclass(frozen=True)
class MismatchComparison:
    """Estimators on the same wavefronts, seen by instruments that differ from the setup."""

    images: int
    """At each level."""
    bound: float
    """Median total bound (rms waves) of an instrument that is as its setup says."""
    curves: Mapping[str, MismatchCurve]
    """By mismatch."""

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "bound_median_total_waves": self.bound,
            "mismatches": {
                mismatch: {
                    "axis": curve.axis,
                    "levels": list(curve.levels),
                    "median_total_waves": {
                        key: curve.medians[name] for key, name in UNDER_MISMATCH.items() if name in curve.medians
                    },
                }
                for mismatch, curve in self.curves.items()
            },
        }


def reason_to_skip(setup: MismatchedSetup, network: Network, noise: NoiseSpec) -> str:
    """Why there is no comparison against mismatch; empty if there is."""
    if network.outputs.modes is None:
        return "the network predicts no modes"
    if network.planes != PLANES:
        return f"the network sees {' '.join(network.planes)} alone"
    if not noise.photons:
        return "there is no photon noise"
    try:
        _acquire(setup, HiddenWorld(aberration=Wavefront.zero(network.outputs.modes)), noise, seed=0)
    except ValueError as error:
        return str(error)
    return ""


def compare_under_mismatch(
    setup: MismatchedSetup,
    network: Network,
    known: KnownImages,
    noise: NoiseSpec,
    *,
    images: int,
    seed: int = 0,
    names: Sequence[str] = ESTIMATORS,
    mismatches: Mapping[str, Mismatch] = MISMATCHES,
    progress: Progress = SILENT,
) -> MismatchComparison:
    """Estimate the first known wavefronts from ``images`` images at each level of each mismatch.

    ``NETWORK`` and ``FIT`` are those of ``compare``: the fit knows of nothing but what the data vary. In the place of
    ``HYBRID`` the whole ``Estimator`` runs, which also fits what the setup's nuisances leave open. Raises
    ``InputError`` where ``reason_to_skip`` gives a reason.
    """
    if reason := reason_to_skip(setup, network, noise):
        raise InputError(f"there is no comparison against mismatch: {reason}")
    count = min(images, len(known))
    bound = LinearizedImages(known, count, noise.background_fraction, progress).bounds(noise)[WAVEFRONT].median_total
    microscopes = _Microscopes(setup, known, noise, seed, count)
    asked = [UNDER_MISMATCH[name] for name in names]
    estimators = {name: each for name, each in _estimators(setup, network, known, noise).items() if name in asked}
    beam = setup.depletion
    steps: list[Step] = [None]
    steps += [(each, at) for each in mismatches.values() for at in each.levels(beam) if at != each.nominal(beam)]
    totals: dict[Step, dict[str, list[float]]] = {step: {name: [] for name in estimators} for step in steps}
    firsts = range(0, count, IMAGES_AT_ONCE)
    batches = [(step, range(first, min(first + IMAGES_AT_ONCE, count))) for step in steps for first in firsts]
    for step, places in progress.over(batches, "against each mismatch"):
        sections = [microscopes.image(place, step) for place in places]
        for name, estimate in estimators.items():
            errors = estimate(sections) - known.waves[places.start : places.stop]
            totals[step][name] += np.linalg.norm(errors, axis=1).tolist()
    curves = {}
    for title, mismatch in mismatches.items():
        nominal, levels = mismatch.nominal(beam), mismatch.levels(beam)
        errors_at = [totals[None if at == nominal else (mismatch, at)] for at in levels]
        medians = {name: [float(np.median(each[name])) for each in errors_at] for name in estimators}
        curves[title] = MismatchCurve(mismatch.axis, nominal, levels, medians)
    return MismatchComparison(count, bound, curves)


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
        return _acquire(self.setup, hidden, self.noise, int(seed.generate_state(1)[0]))


def _acquire(setup: MismatchedSetup, hidden: HiddenWorld, noise: NoiseSpec, seed: int) -> OrthoSections:
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
    modes = known.model.modes
    whole = WholeEstimator(setup.forward, modes, nuisances=setup.nuisances, network=network, limits=setup.limits)

    def of_counts(estimator: Estimator) -> Estimation:
        def estimate(sections: Sequence[OrthoSections]) -> Floats:
            waves = estimator(torch.from_numpy(np.stack([each.data for each in sections])).float()).waves
            if waves is None:
                raise InputError("no wavefront to compare")
            return np.asarray(waves.double().numpy())

        return estimate

    def of_whole(sections: Sequence[OrthoSections]) -> Floats:
        # A refused image leaves the wavefront as it is.
        zero = np.zeros(len(modes))
        return np.stack([zero if isinstance(one, ImageError) else one.wavefront.array for one in whole.all(sections)])

    fit = fit_estimator(known, read_noise=noise.uneven_counts)
    return {NETWORK: of_counts(network.predict_all), FIT: of_counts(fit), ESTIMATE: of_whole}
