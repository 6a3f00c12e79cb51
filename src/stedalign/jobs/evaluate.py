"""Evaluating a network on the test images of a dataset, and what is written of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stedalign.config.setup import Setup
from stedalign.errors import InputError
from stedalign.evaluation.comparison import Comparison, compare, trained_noise
from stedalign.evaluation.estimators import ESTIMATORS
from stedalign.evaluation.mismatch import MismatchComparison, compare_under_mismatch, reason_to_skip
from stedalign.evaluation.test_set import KnownImages
from stedalign.files import replacing_all, write_json
from stedalign.imaging.detector import NoiseSpec
from stedalign.jobs.estimate import DEFAULT_NETWORK
from stedalign.networks.checkpoint import load_network, packaged_weights
from stedalign.progress import Cancel, Progress, Tell
from stedalign.provenance import environment
from stedalign.ranges import LARGEST_SEED, MOST_IMAGES, check_range
from stedalign.reports.evaluation import draw_comparison, draw_mismatch


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a network and its baselines did."""

    comparison: Comparison
    against_mismatch: MismatchComparison | None
    skipped: str
    """Why nothing is told against mismatch; empty if it is."""
    weights: Path
    data: Path
    seed: int
    run_folder: Path

    @property
    def title(self) -> str:
        """What was compared, in a line."""
        count = max(len(result.correlations) for result in self.comparison.results.values())
        return f"{count} SIMULATED images, {_light(self.comparison.noise)}"

    @property
    def mismatch_title(self) -> str:
        """The same of the images against mismatch; empty where there are none."""
        off = self.against_mismatch
        return "" if off is None else f"{off.images} SIMULATED images at each step, {_light(self.comparison.noise)}"

    def to_json(self) -> dict[str, Any]:
        off = self.against_mismatch
        return self.comparison.to_json() | {
            "against_mismatch": {"skipped": self.skipped} if off is None else off.to_json(),
            "weights": str(self.weights),
            "data": str(self.data),
            "seed": self.seed,
            "run_folder": str(self.run_folder),
        }


def _light(noise: NoiseSpec) -> str:
    light = f"{noise.photons:g} photons" if noise.photons else "no photon noise"
    return f"{light}, {100 * noise.background_fraction:.3g} % background"


def evaluate(
    setup: Setup,
    run_folder: Path,
    *,
    data: Path | None = None,
    weights: Path | None = None,
    photons: float | None = None,
    background: float | None = None,
    estimators: Sequence[str] = ESTIMATORS,
    fits: int = 100,
    mismatch: int = 4,
    seed: int = 0,
    limit: int | None = None,
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> Evaluation:
    """Evaluate a network on the first ``limit`` test images of a dataset; drawings and numbers go to ``run_folder``.

    ``data`` defaults to the dataset beside the ``weights``, and these to those of the package; ``photons`` and
    ``background`` (a fraction of the crest) to the noise that the network was trained with. ``fits`` images are fitted,
    too, and ``mismatch`` images are taken at each step of each mismatch (0 = none). Raises ``InputError`` for data,
    weights and setup that do not belong together, and for numbers out of range.
    """
    for name, value in {"fits": fits, "mismatch": mismatch, "limit": limit or 1}.items():
        check_range(name, value, 0, MOST_IMAGES)
    check_range("seed", seed, 0, LARGEST_SEED)
    steps = Progress(progress, cancel)
    steps("reading, and planning the optics")
    path = weights or packaged_weights(DEFAULT_NETWORK)
    network = load_network(path, setup.forward, None)
    data = data or _beside(weights)
    asked = {"photons": photons, "background_fraction": background}
    given = {name: value for name, value in asked.items() if value is not None}
    noise = NoiseSpec.parse(trained_noise(network).model_dump() | given)
    known = KnownImages.load(data, setup.forward, network.outputs, limit)
    skipped = reason_to_skip(setup, network, noise) if mismatch else "not asked for"
    comparison = compare(network, known, noise, seed=seed, fits=fits, names=estimators, progress=steps)
    off = None
    if not skipped:
        names = list(comparison.results)
        off = compare_under_mismatch(
            setup, network, known, noise, images=mismatch, seed=seed, names=names, progress=steps
        )
    done = Evaluation(comparison, off, skipped, path, data, seed, run_folder)
    steps("drawing")
    with replacing_all(run_folder) as staging:
        draw_comparison(staging, comparison, setup.sampling.pixel_nm, done.title)
        if off is not None:
            draw_mismatch(staging / "error_vs_mismatch.png", off, done.mismatch_title)
        steps(f"writing {run_folder}")
        write_json(staging / "evaluation.json", done.to_json() | environment() | {"images": comparison.images_json()})
    return done


def _beside(weights: Path | None) -> Path:
    """The dataset in the run folder of ``weights``. Raises ``InputError`` where there is none."""
    if weights is None:
        raise InputError("which dataset? name it with --data, or a run's weights with --weights")
    data = weights.parent / "dataset.h5"
    if weights.is_file() and not data.is_file():
        raise InputError(f"no dataset.h5 lies beside {weights}: name the dataset with --data")
    return data
