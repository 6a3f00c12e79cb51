"""One training run from specification to exported weights, in a folder that says how it was made."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
import torch
from torch import nn

from stedalign.dataset.generate import GenerationInterrupted, generate, progress_bar
from stedalign.files import leftovers, replacing, write_json
from stedalign.imaging.forward import ForwardSpec
from stedalign.networks.checkpoint import Origin, load_network, save_network
from stedalign.networks.network import Network
from stedalign.networks.registry import build
from stedalign.networks.section_network import SectionNetwork
from stedalign.provenance import environment
from stedalign.training.data import Batch, channel_statistics
from stedalign.training.record import check_record, run_record
from stedalign.training.seeds import Stream, stream_seed
from stedalign.training.spec import TrainSpec

if TYPE_CHECKING:
    from stedalign.training.module import Regression
    from stedalign.training.processes import Devices

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
    """Squared error in peak waves (and pupil radii), summed over the outputs; of networks that tell their own variances
    minus the logarithm of the likelihood."""
    test_loss: float
    test_error_waves: float | None
    """Root mean square over the test pictures of the wavefront error, in rms waves; None without modes."""
    test_error_mask_offset: float | None
    """The same of the mask offset's error, in pupil radii; None where it is not predicted."""


def train(
    spec: TrainSpec,
    forward: ForwardSpec,
    run_folder: Path,
    dataset_path: Path | None = None,
    resume: Path | None = None,
    warm_start: Path | None = None,
    progress: bool = True,
    devices: Devices = 1,
    nodes: int = 1,
) -> Result:
    """Make the data where they are missing, train, and export the best weights into ``run_folder``.

    ``dataset_path`` defaults to ``dataset.h5`` in the run folder: what a run needs lies there, and two runs that go on
    at once never make the same file. ``resume`` is an earlier run's folder or one of its ``.ckpt`` files: weights,
    optimizer and epoch go on from there, in a run that may differ in its number of epochs alone; a folder without a
    checkpoint yet begins again. ``warm_start`` is a ``.safetensors`` file to begin with instead of random weights.

    On several ``devices`` ("auto": all GPUs of this machine) of each of several ``nodes``, one process each shares the
    batches with the others. The first one prints, writes and returns; the others end (``SystemExit``). Those of this
    machine are started here, unless SLURM or torchrun did, and import the main script again: one that calls this
    function needs the usual guard, ``if __name__ == "__main__"``.

    Raises ``MissingExtraError`` without the extra "train", and ``ValueError`` (or its ``CheckpointError``)
    with one line when the folder holds another run, or when data, checkpoint, weights or devices do not fit.
    """
    require_extra()
    from stedalign.training.fit import fit
    from stedalign.training.processes import together
    from stedalign.training.sources import EndlessData, NoisyData

    # The first process alone tells how it goes.
    again = partial(train, spec, forward, run_folder, dataset_path, resume, warm_start, False, devices, nodes)
    with together(devices, nodes, again) as processes:
        job = processes.first(
            lambda: _prepare(spec, forward, run_folder, dataset_path, resume, warm_start, progress, processes.world)
        )
        network = job.network
        data = NoisyData(job.dataset_path, spec) if spec.simulation is None else EndlessData(spec, forward, network)
        if job.statistics_missing:
            statistics = processes.first(lambda: channel_statistics(network.seen(images) for images, _ in data.first()))
            network.set_input_statistics(*statistics)
        best, epoch, validation_loss = fit(
            network, data, spec, forward, job.run_folder, job.checkpoint, progress, processes
        )
    figures = evaluate(best, data.unseen())
    weights = run_folder / WEIGHTS
    results = {"epoch": epoch, "epochs": spec.epochs, "validation_loss": validation_loss, **figures}
    origin = Origin(spec.network, forward, spec.outputs, _describe(spec, forward) | results)
    save_network(weights, best.network, origin)
    write_json(run_folder / RESULTS, results)
    return Result(run_folder, weights, epoch, validation_loss, **figures)


@dataclass(frozen=True)
class _Job:
    """What the first process prepares and all of them train."""

    run_folder: Path
    dataset_path: Path
    checkpoint: Path | None
    network: SectionNetwork
    statistics_missing: bool
    """Whether the network has yet to be told how its training pictures look."""


def _prepare(
    spec: TrainSpec,
    forward: ForwardSpec,
    run_folder: Path,
    dataset_path: Path | None,
    resume: Path | None,
    warm_start: Path | None,
    progress: bool,
    world: int,
) -> _Job:
    """Check everything, claim the folder and make the data."""
    from stedalign.training.fit import check_checkpoint

    if spec.batch_size % world:
        raise ValueError(f"{world} processes cannot share batches of {spec.batch_size} evenly: change batch_size")
    if resume is not None and warm_start is not None:
        raise ValueError("a resumed run has its weights already: choose either resume or warm_start")
    if spec.simulation is not None and spec.simulation.validation < world:
        raise ValueError(f"{spec.simulation.validation} validation pictures are too few for {world} processes")
    if spec.simulation is not None and dataset_path is not None:
        raise ValueError(f"this configuration simulates its pictures: it has no use for {dataset_path}")
    checkpoint = None if resume is None else _checkpoint(resume, run_folder)
    if checkpoint is not None:
        own = checkpoint.resolve() == (run_folder / LAST).resolve()
        check_checkpoint(checkpoint, spec, forward, exported=not own or _is_exported(run_folder, spec.epochs))
    elif resume is not None:
        warm_start = _recorded_warm_start(run_folder)
    outputs = spec.outputs
    torch.manual_seed(stream_seed(spec.seed, Stream.WEIGHTS))
    network = build(spec.network, outputs, forward)
    if warm_start is not None:
        _start_from(network, load_network(warm_start, forward, outputs.modes), warm_start)
    _claim_folder(run_folder, spec, forward, warm_start, world, resumed=checkpoint is not None)

    dataset_path = dataset_path or run_folder / "dataset.h5"
    if spec.simulation is None:
        _make_dataset(spec, forward, run_folder, dataset_path, progress)
    return _Job(run_folder, dataset_path, checkpoint, network, statistics_missing=warm_start is None)


def _make_dataset(spec: TrainSpec, forward: ForwardSpec, run_folder: Path, dataset_path: Path, progress: bool) -> None:
    if progress and not dataset_path.exists():
        print(f"simulating {spec.dataset.samples} pictures for {dataset_path}", flush=True)
    try:
        with progress_bar() if progress else nullcontext() as report:
            generate(spec.dataset, forward, dataset_path, report=report)
    except GenerationInterrupted as stopped:
        raise GenerationInterrupted(f"{stopped}; resume {run_folder} to go on with the training") from None


@torch.no_grad()
def evaluate(regression: Regression, test: Iterable[Batch]) -> dict[str, Any]:
    """The test figures of a ``Result``, on pictures that neither training nor selection has seen."""
    from stedalign.training.module import OFFSET_ERROR, WAVE_ERROR, loss, squared_errors

    regression.eval()
    predicted, true = zip(*((regression(images.cpu()), labels.cpu()) for images, labels in test), strict=True)
    prediction, labels = torch.cat(predicted), torch.cat(true)
    rms = {name: float(value) ** 0.5 for name, value in squared_errors(prediction, labels, regression.outputs).items()}
    milliwaves = rms.get(f"{WAVE_ERROR}/total")
    return {
        "test_loss": float(loss(prediction, labels, regression.outputs)),
        "test_error_waves": None if milliwaves is None else milliwaves / 1000,
        "test_error_mask_offset": rms.get(f"{OFFSET_ERROR}/total"),
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


def _checkpoint(resume: Path, run_folder: Path) -> Path | None:
    """The checkpoint to go on from, or None where the run in ``run_folder`` was stopped before its first one."""
    checkpoint = resume / LAST if resume.is_dir() else resume
    if checkpoint.is_file():
        return checkpoint
    if resume.resolve() == run_folder.resolve() and (run_folder / CONFIG).is_file():
        return None
    raise ValueError(f"there is nothing to resume: {checkpoint} does not exist")


def _is_exported(folder: Path, epochs: int) -> bool:
    """Whether a run of so many epochs came to its end; its results are the last thing that it writes."""
    results = folder / RESULTS
    return results.is_file() and json.loads(results.read_text()).get("epochs", epochs) >= epochs


def _recorded_warm_start(folder: Path) -> Path | None:
    recorded = json.loads((folder / CONFIG).read_text()).get("warm_start")
    return None if recorded is None else Path(recorded)


def _claim_folder(
    folder: Path, spec: TrainSpec, forward: ForwardSpec, warm_start: Path | None, world: int, *, resumed: bool
) -> None:
    """Write down what is about to be done, unless another run lives in the folder already.

    A resumed run may ask for more epochs and for nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / CONFIG
    start = None if warm_start is None else str(warm_start.resolve())
    if config.exists():
        recorded = json.loads(config.read_text())
        check_record(recorded, spec, forward, f"choose another folder: {folder} holds a run of")
        start = recorded.get("warm_start") if resumed else start
        if not resumed and (folder / LAST).exists():
            raise ValueError(f"{folder} holds a run already: resume it or choose another folder")
    for leftover in leftovers(folder) + leftovers((folder / LAST).parent):
        leftover.unlink(missing_ok=True)
    write_json(config, _describe(spec, forward) | {"warm_start": start, "processes": world})
    with replacing(folder / "train.toml") as temporary:
        idle = {"dataset", "noise"} if spec.simulation is not None else None
        described = spec.model_dump(mode="json", exclude_none=True, exclude=idle)
        temporary.write_text(tomlkit.dumps(described), encoding="utf-8")


def _describe(spec: TrainSpec, forward: ForwardSpec) -> dict[str, Any]:
    return {**run_record(spec, forward), "seed": spec.seed, **environment()}
