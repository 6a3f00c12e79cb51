"""A network beside its baselines (the fit from zero, the fit from the network, the bound), on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stedalign.errors import InputError
from stedalign.estimation.bound import Bound
from stedalign.evaluation.bounds import LinearizedImages
from stedalign.evaluation.errors import MASK_OFFSET, WAVEFRONT, OpenLoop, errors_by_quantity, open_loop
from stedalign.evaluation.estimators import (
    ESTIMATORS,
    FIT,
    HYBRID,
    NETWORK,
    TITLES,
    Estimator,
    fit_estimator,
    joined,
    predict_in_batches,
)
from stedalign.evaluation.reconstruction import reconstruction
from stedalign.evaluation.test_set import KnownImages
from stedalign.imaging.detector import NoiseSpec
from stedalign.imaging.images import PLANES
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.progress import SILENT, Progress

Floats = NDArray[np.float64]
BOUND = "bound"
SWEEP_PHOTONS = (30.0, 100.0, 350.0, 1000.0, 3000.0)
LEAST_BIN_IMAGES, MOST_BINS = 12, 10
FILE_DECIMALS = 7
"""Of estimates and true values in the file of all images."""
BOUND_IMAGES = 100
SWEEP_IMAGES = 500
SWEEP_SHARE = 5
"""At each photon number a fifth of the images that are fitted."""


@dataclass(frozen=True, eq=False)
class Example:
    """One image, and its reconstruction from an estimate."""

    index: int
    counts: Floats
    """(3, N, N)."""
    reconstruction: Floats
    """(3, N, N), relative to the unaberrated crest."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """All estimators on the same images with the same noise."""

    outputs: Outputs
    planes: tuple[str, ...]
    """The sections that the network sees; fits see all three."""
    noise: NoiseSpec
    true: Mapping[str, Floats]
    """By quantity that the network predicts, of all images: (n, modes) in rms waves, (n, 2) in pupil radii."""
    results: Mapping[str, OpenLoop]
    """By ``NETWORK``, ``FIT`` and ``HYBRID``, in this order: those that were asked for, one at least."""
    bounds: Mapping[str, Mapping[str, Bound]]
    """By name (``BOUND`` for three sections, "bound xy" for fewer) and quantity; empty without photon noise."""
    photons: Mapping[str, Mapping[str, list[float]]]
    """Median total error at each of ``SWEEP_PHOTONS``, by quantity and estimator or bound."""
    examples: Mapping[str, Example]
    """The best, the median and the worst image of the first estimator."""

    @property
    def asked(self) -> tuple[str, ...]:
        """The quantities that the network predicts."""
        return tuple(self.true)

    @property
    def first(self) -> str:
        """The estimator whose examples and single estimates are drawn: the network, where it was asked for."""
        return next(iter(self.results))

    def names(self, quantity: str) -> list[str]:
        """Of the modes or axes."""
        modes = self.outputs.modes
        if quantity == MASK_OFFSET or modes is None:
            return ["mask offset x", "mask offset y"]
        return [mode.name for mode in modes]

    def against_strength(self, quantity: str) -> dict[str, dict[str, list[float]]]:
        """Median and 68 % band of the total error by true strength, by estimator or bound."""
        totals = {name: result.quantities[quantity].totals for name, result in self.results.items()}
        totals |= {name: bounds[quantity].totals for name, bounds in self.bounds.items()}
        strengths = np.linalg.norm(self.true[quantity], axis=1)
        return {name: binned(strengths[: len(values)], values) for name, values in totals.items()}

    def to_json(self) -> dict[str, Any]:
        """The figures; ``images_json`` has what they are made of."""
        return {
            "simulated": True,
            "modes": [] if self.outputs.modes is None else self.outputs.modes.pairs,
            "mask_offset": MASK_OFFSET in self.asked,
            "sections": list(self.planes),
            "noise": self.noise.model_dump(),
            "rms_true": {
                name: float(np.linalg.norm(values) / len(values) ** 0.5) for name, values in self.true.items()
            },
            "estimators": {name: result.to_json() for name, result in self.results.items()},
            "bounds": {
                name: {quantity: bound.to_json() for quantity, bound in bounds.items()}
                for name, bounds in self.bounds.items()
            },
            "against_strength": {name: self.against_strength(name) for name in self.asked},
            "against_photons": {"photons": list(SWEEP_PHOTONS), "median_total": self.photons},
        }

    def images_json(self) -> dict[str, Any]:
        """Truth, estimates and correlations of every image, and which of them are drawn as examples."""
        tables: dict[str, Any] = {"examples": {name: example.index for name, example in self.examples.items()}}
        for name, result in self.results.items():
            tables[name] = {"correlation": result.correlations.round(FILE_DECIMALS).tolist()}
            for quantity, values in result.quantities.items():
                tables[name][quantity] = values.estimated.round(FILE_DECIMALS).tolist()
        for quantity, true in self.true.items():
            tables[f"true_{quantity}"] = true.round(FILE_DECIMALS).tolist()
        return tables


def binned(strengths: Floats, totals: Floats) -> dict[str, list[float]]:
    """Median strength, and median and 16th and 84th percentile of the total error, of equally filled bins."""
    order = np.argsort(strengths, kind="stable")
    groups = np.array_split(order, int(np.clip(len(order) // LEAST_BIN_IMAGES, 1, MOST_BINS)))
    bands = np.array([np.quantile(totals[group], [0.16, 0.5, 0.84]) for group in groups]).T
    at = [float(np.median(strengths[group])) for group in groups]
    return {"strength": at, **dict(zip(("low", "median", "high"), bands.tolist(), strict=True))}


def trained_noise(network: Network) -> NoiseSpec:
    """The noise that a network was trained with, where its record tells, otherwise the default."""
    spec = network.training.get("train_spec")
    return NoiseSpec.parse(spec["noise"]) if isinstance(spec, dict) and "noise" in spec else NoiseSpec()


def compare(
    network: Network,
    known: KnownImages,
    noise: NoiseSpec,
    *,
    seed: int = 0,
    fits: int = 100,
    names: Sequence[str] = ESTIMATORS,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare ``network`` on all known images, the fits on the first ``fits`` (0 = none), and the bound.

    Of these estimators only ``names`` are run. Without photon noise there are neither fits nor a bound; raises
    ``InputError`` where that leaves no estimator, and for a network of z-stacks, of which a dataset has none. What the
    data do not vary, fits and bound take as known.
    """
    if network.stack:
        raise InputError(f"this network sees z-stacks of {network.stack} planes; a dataset holds three sections")
    runs = _Runs(network, known, names, progress)
    fits = fits if noise.photons else 0
    counts = known.counts(noise, seed)
    chosen = runs.estimators(noise, counts, fits)
    if not chosen:
        raise InputError("nothing is left to evaluate: a fit needs photon noise and images to fit")
    results = runs.results(chosen)
    first, (estimator, _) = next(iter(chosen.items()))
    linearized = LinearizedImages(known, BOUND_IMAGES, noise.background_fraction, progress) if noise.photons else None
    photons: dict[str, dict[str, list[float]]] = {quantity: {} for quantity in runs.asked}
    for value in SWEEP_PHOTONS:
        at = noise.model_copy(update={"photons": value})
        medians = runs.medians(at, known.counts(at, seed, SWEEP_IMAGES), -(-fits // SWEEP_SHARE))
        for name, bounds in (runs.bounds(at, linearized) if linearized else {}).items():
            for quantity, bound in bounds.items():
                medians[quantity][name] = bound.median_total
        for quantity, by_name in medians.items():
            for name, median in by_name.items():
                photons[quantity].setdefault(name, []).append(median)
    return Comparison(
        network.outputs,
        runs.planes,
        noise,
        runs.true,
        results,
        runs.bounds(noise, linearized) if linearized else {},
        photons,
        runs.examples(counts, estimator, results[first]),
    )


class _Runs:
    """One network, what it is asked for, the images, and the estimators that are run."""

    def __init__(self, network: Network, known: KnownImages, names: Sequence[str], progress: Progress) -> None:
        self.known, self.names, self.progress = known, names, progress
        self.network: Estimator = network.predict_all
        self.planes = network.planes
        self.true: dict[str, Floats] = {}
        if network.outputs.modes is not None:
            self.true[WAVEFRONT] = known.waves
        if network.outputs.mask_offset and known.mask_offset is not None:
            self.true[MASK_OFFSET] = known.mask_offset
        self.asked = tuple(self.true)

    def estimators(self, noise: NoiseSpec, counts: Tensor, fits: int) -> dict[str, tuple[Estimator, Tensor]]:
        """Each with the images that it gets: the fits only the first ``fits``."""
        estimators = {NETWORK: (self.network, counts)}
        if fits:
            read_noise = noise.uneven_counts
            estimators[FIT] = fit_estimator(self.known, read_noise=read_noise), counts[:fits]
            estimators[HYBRID] = fit_estimator(self.known, self.network, read_noise=read_noise), counts[:fits]
        return {name: each for name, each in estimators.items() if name in self.names}

    def results(self, estimators: Mapping[str, tuple[Estimator, Tensor]]) -> dict[str, OpenLoop]:
        return {
            name: open_loop(
                estimator,
                self.known,
                images,
                self.asked,
                planes=self.planes,
                progress=self.progress,
                title=TITLES[name],
            )
            for name, (estimator, images) in estimators.items()
        }

    def medians(self, noise: NoiseSpec, counts: Tensor, fits: int) -> dict[str, dict[str, float]]:
        """Median total error by quantity and estimator."""
        medians: dict[str, dict[str, float]] = {quantity: {} for quantity in self.asked}
        for name, (estimator, images) in self.estimators(noise, counts, fits).items():
            title = f"{TITLES[name]} at {noise.photons:g} photons"
            prediction = joined(predict_in_batches(estimator, images, self.progress, title))
            for quantity, values in errors_by_quantity(self.known, prediction, self.asked).items():
                medians[quantity][name] = values.median_total
        return medians

    def bounds(self, noise: NoiseSpec, linearized: LinearizedImages) -> dict[str, Mapping[str, Bound]]:
        """From three sections and, where these are fewer, from those that the network sees."""
        sections = {BOUND: PLANES} | (
            {} if self.planes == PLANES else {f"{BOUND} {' '.join(self.planes)}": self.planes}
        )
        bounds = {name: linearized.bounds(noise, seen) for name, seen in sections.items()}
        return {name: {quantity: each[quantity] for quantity in self.asked} for name, each in bounds.items()}

    def examples(self, counts: Tensor, estimator: Estimator, result: OpenLoop) -> dict[str, Example]:
        """The best, the median and the worst image of one estimator, by the first quantity that is asked for."""
        order = np.argsort(result.quantities[self.asked[0]].totals, kind="stable")
        examples = {}
        for name, index in (("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])):
            image = counts[index : index + 1]
            pair = image, reconstruction(self.known, image, estimator(image))
            examples[name] = Example(int(index), *(values[0].double().numpy() for values in pair))
        return examples
