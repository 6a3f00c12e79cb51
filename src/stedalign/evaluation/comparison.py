"""A network beside its baselines (the fit from zero, the fit from the network, the bound): what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedalign.evaluation.bounds import Bound
from stedalign.evaluation.errors import MASK_OFFSET, OpenLoop
from stedalign.imaging.detector import NoiseSpec
from stedalign.networks.outputs import Outputs

Floats = NDArray[np.float64]
NETWORK, FIT, HYBRID, BOUND = "network", "fit", "hybrid", "bound"
TITLES = {NETWORK: "network", FIT: "fit from zero", HYBRID: "network + fit"}
ESTIMATORS = tuple(TITLES)
SWEEP_PHOTONS = (30.0, 100.0, 350.0, 1000.0, 3000.0)
BIN_IMAGES, BINS = 12, 10
"""Images in a bin at least, and bins at most."""
DECIMALS = 7


@dataclass(frozen=True, eq=False)
class Example:
    """One image, and the focus rebuilt from an estimate of it."""

    index: int
    counts: Floats
    """(3, N, N)."""
    rebuilt: Floats
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
        totals |= {name: found[quantity].totals for name, found in self.bounds.items()}
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
                name: {quantity: bound.to_json() for quantity, bound in found.items()}
                for name, found in self.bounds.items()
            },
            "against_strength": {name: self.against_strength(name) for name in self.asked},
            "against_photons": {"photons": list(SWEEP_PHOTONS), "median_total": self.photons},
        }

    def images_json(self) -> dict[str, Any]:
        """Truth, estimates and correlations of every image, and which of them are drawn as examples."""
        tables: dict[str, Any] = {"examples": {name: example.index for name, example in self.examples.items()}}
        for name, result in self.results.items():
            tables[name] = {"correlation": result.correlations.round(DECIMALS).tolist()}
            for quantity, values in result.quantities.items():
                tables[name][quantity] = values.estimated.round(DECIMALS).tolist()
        for quantity, true in self.true.items():
            tables[f"true_{quantity}"] = true.round(DECIMALS).tolist()
        return tables


def binned(strengths: Floats, totals: Floats) -> dict[str, list[float]]:
    """Median strength, and median and 16th and 84th percentile of the total error, of equally filled bins."""
    order = np.argsort(strengths, kind="stable")
    groups = np.array_split(order, int(np.clip(len(order) // BIN_IMAGES, 1, BINS)))
    bands = np.array([np.quantile(totals[group], [0.16, 0.5, 0.84]) for group in groups]).T
    at = [float(np.median(strengths[group])) for group in groups]
    return {"strength": at, **dict(zip(("low", "median", "high"), bands.tolist(), strict=True))}
