"""One training run from specification to exported weights, in a folder that says how it was made."""

from __future__ import annotations

import importlib.util
import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
import torch
from torch import nn

from stedalign.dataset.generate import generate, progress_bar
from stedalign.files import replacing, write_json
from stedalign.imaging.forward import ForwardSpec
from stedalign.networks.checkpoint import Origin, load_network, save_network
from stedalign.networks.network import Network
from stedalign.networks.registry import build, set_input_statistics
from stedalign.provenance import environment
from stedalign.training.data import NoisyBatches, Pictures, channel_statistics
from stedalign.training.record import check_record, run_record
from stedalign.training.seeds import Stream, stream_seed
from stedalign.training.spec import TrainSpec

if TYPE_CHECKING:
    from stedalign.training.module import Regression

CONFIG, RESULTS, WEIGHTS, LAST = "run.json", "results.json", "weights.safetensors", "checkpoints/last.ckpt"


class MissingExtraError(RuntimeError):
    """Training was asked for without the packages it needs."""


@dataclass(frozen=True)
class Result:
    """What a training run gave."""

    run_folder: Path
    weights: Path
    """The best epoch's weights (safetensors)."""
    epoch: int
    """The best epoch, counted from 1."""
    validation_loss: float
    """Peak waves squared, summed over the outputs."""
    test_loss: float
    test_error_waves: float
    """Root mean square over the test pictures of the wavefront error, in rms waves."""


def train(
    spec: TrainSpec,
    forward: ForwardSpec,
    run_folder: Path,
    dataset_path: Path | None = None,
    resume: Path | None = None,
    warm_start: Path | None = None,
    progress: bool = True,
) -> Result:
    """Make the data where they are missing, train, and export the best weights into ``run_folder``.

    ``dataset_path`` defaults to ``dataset.h5`` in the run folder. ``resume`` is an earlier run's folder or
    one of its ``.ckpt`` files: weights, optimizer and epoch go on from there, in a run that may differ in its
    number of epochs alone. ``warm_start`` is a ``.safetensors`` file to begin with instead of random weights.

    Raises ``MissingExtraError`` without the extra "train", and ``ValueError`` (or its ``CheckpointError``)
    with one line when the folder holds another run, or when data, checkpoint or weights do not fit.
    """
    require_extra()
    from stedalign.training.fit import check_checkpoint, fit

    if resume is not None and warm_start is not None:
        raise ValueError("a resumed run has its weights already: choose either resume or warm_start")
    checkpoint = None if resume is None else _checkpoint(resume)
    if checkpoint is not None:
        check_checkpoint(checkpoint, spec, forward)
    modes = spec.dataset.mode_set
    torch.manual_seed(stream_seed(spec.seed, Stream.WEIGHTS))
    network = build(spec.network, len(modes), forward.sampling.samples)
    if warm_start is not None:
        _start_from(network, load_network(warm_start, forward, modes), warm_start)
    _claim_folder(run_folder, spec, forward, resumed=checkpoint is not None)

    dataset_path = dataset_path or run_folder / "dataset.h5"
    with progress_bar() if progress else nullcontext() as report:
        generate(spec.dataset, forward, dataset_path, report=report)
    training, validation = (Pictures.load(dataset_path, split) for split in ("train", "val"))
    if warm_start is None:
        seed = stream_seed(spec.seed, Stream.STATISTICS)
        set_input_statistics(network, *channel_statistics(NoisyBatches(training, spec.noise, spec.batch_size, seed)))

    best, epoch, validation_loss = fit(network, training, validation, spec, forward, run_folder, checkpoint, progress)
    figures = evaluate(best, Pictures.load(dataset_path, "test"), spec)
    weights = run_folder / WEIGHTS
    results = {"epoch": epoch, "validation_loss": validation_loss, **figures}
    origin = Origin(spec.network, forward, modes, {**_describe(spec, forward), **results})
    save_network(weights, best.network, origin)
    write_json(run_folder / RESULTS, results)
    return Result(run_folder, weights, epoch, validation_loss, **figures)


@torch.no_grad()
def evaluate(regression: Regression, test: Pictures, spec: TrainSpec) -> dict[str, float]:
    """Loss and total wavefront error (rms waves) on pictures that neither training nor selection has seen."""
    from stedalign.training.module import loss, squared_error_waves

    regression.eval()
    batches = list(NoisyBatches(test, spec.noise, spec.batch_size, stream_seed(spec.seed, Stream.TEST)))
    prediction = torch.cat([regression(images) for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    squared = squared_error_waves(prediction, labels, regression.modes)
    return {
        "test_loss": float(loss(prediction, labels)),
        "test_error_waves": float(squared.sum(1).mean().sqrt()),
    }


def require_extra() -> None:
    """Raise ``MissingExtraError`` unless the packages of the extra "train" are installed."""
    if any(importlib.util.find_spec(package) is None for package in ("lightning", "tensorboard")):
        raise MissingExtraError('training needs the extra "train": pip install "stedalign[train]"')


def _start_from(network: nn.Module, start: Network, path: Path) -> None:
    """Copy weights and input statistics, which belong together."""
    try:
        network.load_state_dict(start.module.state_dict())
    except RuntimeError:
        raise ValueError(f"{path} holds the weights of another network") from None


def _checkpoint(resume: Path) -> Path:
    checkpoint = resume / LAST if resume.is_dir() else resume
    if not checkpoint.is_file():
        raise ValueError(f"there is nothing to resume: {checkpoint} does not exist")
    return checkpoint


def _claim_folder(folder: Path, spec: TrainSpec, forward: ForwardSpec, *, resumed: bool) -> None:
    """Write down what is about to be done, unless another run lives in the folder already.

    A resumed run may ask for more epochs and for nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / CONFIG
    if config.exists():
        check_record(json.loads(config.read_text()), spec, forward, f"choose another folder: {folder} holds a run of")
        if not resumed and (folder / LAST).exists():
            raise ValueError(f"{folder} holds a run already: resume it or choose another folder")
    write_json(config, _describe(spec, forward))
    with replacing(folder / "train.toml") as temporary:
        temporary.write_text(tomlkit.dumps(spec.model_dump(mode="json")), encoding="utf-8")


def _describe(spec: TrainSpec, forward: ForwardSpec) -> dict[str, Any]:
    return {**run_record(spec, forward), "seed": spec.seed, **environment()}
