"""Judging a network: all estimators on the same images with the same noise, at one photon number and at several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from stedalign.errors import InputError
from stedalign.evaluation.bounds import Bound, Linearized
from stedalign.evaluation.comparison import (
    BOUND,
    ESTIMATORS,
    FIT,
    HYBRID,
    NETWORK,
    SWEEP_PHOTONS,
    TITLES,
    Comparison,
    Example,
)
from stedalign.evaluation.errors import (
    MASK_OFFSET,
    WAVEFRONT,
    OpenLoop,
    Track,
    compare_quantities,
    estimate,
    open_loop,
    untracked,
)
from stedalign.evaluation.estimators import Estimator, fit_from, joined
from stedalign.evaluation.reconstruction import rebuilt
from stedalign.evaluation.test_set import Floats, KnownImages
from stedalign.imaging.detector import NoiseSpec
from stedalign.imaging.images import PLANES
from stedalign.networks.network import Network

BOUND_IMAGES = 100
SWEEP_IMAGES = 500
SWEEP_SHARE = 5
"""At each photon number a fifth of the images that are fitted."""


def trained_noise(network: Network) -> NoiseSpec:
    """The noise that a network was trained with, where its record tells, otherwise the default."""
    spec = network.training.get("train_spec")
    return NoiseSpec.parse(spec["noise"]) if isinstance(spec, dict) and "noise" in spec else NoiseSpec()


def judge(
    network: Network,
    known: KnownImages,
    noise: NoiseSpec,
    *,
    seed: int = 0,
    fits: int = 100,
    names: Sequence[str] = ESTIMATORS,
    track: Track = untracked,
) -> Comparison:
    """Judge ``network`` on all known images, the fits on the first ``fits`` (0 = none), and compute the bound.

    Of these estimators only ``names`` are run. Without photon noise there are neither fits nor a bound; raises
    ``InputError`` where that leaves no estimator, and for a network of z-stacks, of which a dataset has none. What the
    data do not vary, fits and bound take as known.
    """
    if stack := getattr(network.module, "stack", 0):
        raise InputError(f"this network sees z-stacks of {stack} planes; a dataset holds three sections")
    judging = _Judging(network, known, names, track)
    fits = fits if noise.photons else 0
    counts = known.counts(noise, seed)
    chosen = judging.estimators(noise, counts, fits)
    if not chosen:
        raise InputError("nothing is left to judge: a fit needs photon noise and images to fit")
    results = judging.results(chosen)
    first, (estimator, _) = next(iter(chosen.items()))
    linearized = Linearized(known, BOUND_IMAGES, noise.background_fraction, track) if noise.photons else None
    photons: dict[str, dict[str, list[float]]] = {quantity: {} for quantity in judging.asked}
    for value in SWEEP_PHOTONS:
        at = noise.model_copy(update={"photons": value})
        some = known.counts(at, seed, SWEEP_IMAGES)
        medians = judging.medians(at, some, -(-fits // SWEEP_SHARE))
        for name, bounds in (judging.bounds(at, linearized) if linearized else {}).items():
            for quantity, bound in bounds.items():
                medians[quantity][name] = bound.median_total
        for quantity, found in medians.items():
            for name, median in found.items():
                photons[quantity].setdefault(name, []).append(median)
    return Comparison(
        network.outputs,
        judging.planes,
        noise,
        judging.true,
        results,
        judging.bounds(noise, linearized) if linearized else {},
        photons,
        judging.examples(counts, estimator, results[first]),
    )


class _Judging:
    """One network, what it is asked for, the images, and the estimators that are run."""

    def __init__(self, network: Network, known: KnownImages, names: Sequence[str], track: Track) -> None:
        self.known, self.names, self.track = known, names, track
        self.alone: Estimator = network.predict_all
        self.planes: tuple[str, ...] = tuple(getattr(network.module, "planes", PLANES))
        self.true: dict[str, Floats] = {}
        if network.outputs.modes is not None:
            self.true[WAVEFRONT] = known.waves
        if network.outputs.mask_offset and known.mask_offset is not None:
            self.true[MASK_OFFSET] = known.mask_offset
        self.asked = tuple(self.true)

    def estimators(self, noise: NoiseSpec, counts: Tensor, fits: int) -> dict[str, tuple[Estimator, Tensor]]:
        """Each with the images that it gets: the fits only the first ``fits``."""
        found = {NETWORK: (self.alone, counts)}
        if fits:
            read_noise = noise.uneven_counts
            found[FIT] = fit_from(self.known, read_noise=read_noise), counts[:fits]
            found[HYBRID] = fit_from(self.known, self.alone, read_noise=read_noise), counts[:fits]
        return {name: each for name, each in found.items() if name in self.names}

    def results(self, estimators: Mapping[str, tuple[Estimator, Tensor]]) -> dict[str, OpenLoop]:
        return {
            name: open_loop(
                estimator, self.known, some, self.asked, planes=self.planes, track=self.track, title=TITLES[name]
            )
            for name, (estimator, some) in estimators.items()
        }

    def medians(self, noise: NoiseSpec, counts: Tensor, fits: int) -> dict[str, dict[str, float]]:
        """Median total error by quantity and estimator."""
        medians: dict[str, dict[str, float]] = {quantity: {} for quantity in self.asked}
        for name, (estimator, some) in self.estimators(noise, counts, fits).items():
            said = estimate(estimator, some, self.track, f"{TITLES[name]} at {noise.photons:g} photons")
            for quantity, values in compare_quantities(self.known, joined(said), self.asked).items():
                medians[quantity][name] = values.median_total
        return medians

    def bounds(self, noise: NoiseSpec, linearized: Linearized) -> dict[str, Mapping[str, Bound]]:
        """From three sections and, where these are fewer, from those that the network sees."""
        sections = {BOUND: PLANES} | (
            {} if self.planes == PLANES else {f"{BOUND} {' '.join(self.planes)}": self.planes}
        )
        found = {name: linearized.bounds(noise, seen) for name, seen in sections.items()}
        return {name: {quantity: each[quantity] for quantity in self.asked} for name, each in found.items()}

    def examples(self, counts: Tensor, estimator: Estimator, result: OpenLoop) -> dict[str, Example]:
        """The best, the median and the worst image of one estimator, by the first quantity that is asked for."""
        order = np.argsort(result.quantities[self.asked[0]].totals, kind="stable")
        examples = {}
        for name, index in (("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])):
            image = counts[index : index + 1]
            again = rebuilt(self.known, image, estimator(image))
            examples[name] = Example(int(index), *(values[0].double().numpy() for values in (image, again)))
        return examples
