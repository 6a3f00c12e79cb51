"""One training run from specification to exported weights, in a folder that says how it was made."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stedalign.dataset.generate import GenerationInterrupted, Simulator, generate, is_finished, planned
from stedalign.dataset.spec import SPLITS
from stedalign.errors import InputError, JobError
from stedalign.files import replacing_all, write_json
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.networks.checkpoint import WeightsRecord, load_network, save_network
from stedalign.networks.image_network import ImageNetwork
from stedalign.networks.network import Network
from stedalign.networks.registry import build
from stedalign.progress import SILENT, Progress
from stedalign.training.batches import Batch, LabeledImages, channel_statistics
from stedalign.training.run_folder import (
    LAST,
    RESULTS,
    WEIGHTS,
    check_folder,
    checkpoint_to_resume,
    claim_folder,
    describe,
    is_exported,
    recorded_warm_start,
)
from stedalign.training.seeds import Stream, stream_seed
from stedalign.training.simulated_batches import SimulatedImages
from stedalign.training.spec import TrainSpec

if TYPE_CHECKING:
    from stedalign.training.launch import Devices
    from stedalign.training.module import Regression
    from stedalign.training.trainer import Watch


class MissingExtraError(JobError):
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
    """Root mean square over the test images of the wavefront error, in rms waves; None without modes."""
    test_error_mask_offset: float | None
    """The same of the mask offset's error, in pupil radii; None where it is not predicted."""
    test_error_shift_nm: float | None
    """The same of the shift's error, in nm; None where it is not predicted."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"run_folder": str(self.run_folder), "weights": str(self.weights)}


def train(
    spec: TrainSpec,
    forward: ForwardSpec,
    run_folder: Path,
    dataset_path: Path | None = None,
    resume: Path | None = None,
    warm_start: Path | None = None,
    devices: Devices = 1,
    nodes: int = 1,
    progress: Progress = SILENT,
    watch: Watch | None = None,
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

    ``watch`` is told each epoch. A training that was stopped, also by ``progress`` (``Cancelled``), goes on from its
    last epoch.

    Raises ``MissingExtraError`` without the extra "train", and ``InputError`` (or its ``CheckpointError``)
    with one line when the folder holds another run or files that would be replaced, or when data, checkpoint, weights
    or devices do not fit; nothing has been written then.
    """
    require_extra()
    from stedalign.training.data_modules import NoisyData, SimulatedData
    from stedalign.training.launch import together
    from stedalign.training.trainer import fit

    # The first process alone tells how it goes.
    again = partial(train, spec, forward, run_folder, dataset_path, resume, warm_start, devices, nodes)
    with together(devices, nodes, again) as processes:
        job = processes.first(
            lambda: _prepare(spec, forward, run_folder, dataset_path, resume, warm_start, progress, processes.world)
        )
        network = job.network
        data = NoisyData(job.dataset_path, spec) if job.source is None else SimulatedData(job.source, spec)
        if job.statistics_missing:
            statistics = processes.first(lambda: channel_statistics(network.seen(images) for images, _ in data.first()))
            network.set_input_statistics(*statistics)
        best, epoch, validation_loss = fit(
            network, data, spec, forward, job.run_folder, job.checkpoint, processes, progress, watch
        )
    progress("testing")
    figures = evaluate(best, data.unseen())
    results = {"epoch": epoch, "epochs": spec.epochs, "validation_loss": validation_loss, **figures}
    record = WeightsRecord(spec.network, forward, spec.outputs, describe(spec, forward) | results)
    with replacing_all(run_folder) as staging:
        save_network(staging / WEIGHTS, best.network, record)
        write_json(staging / RESULTS, results)
    return Result(run_folder, run_folder / WEIGHTS, epoch, validation_loss, **figures)


@dataclass(frozen=True)
class _Job:
    """What the first process prepares and all of them train."""

    run_folder: Path
    dataset_path: Path
    source: SimulatedImages | None
    """What simulates the images, where there is no dataset."""
    checkpoint: Path | None
    network: ImageNetwork
    statistics_missing: bool
    """Whether the network has yet to be told how its training images look."""


def _prepare(
    spec: TrainSpec,
    forward: ForwardSpec,
    run_folder: Path,
    dataset_path: Path | None,
    resume: Path | None,
    warm_start: Path | None,
    progress: Progress,
    world: int,
) -> _Job:
    """Check everything, then claim the folder and make the data: what is refused leaves no trace."""
    from stedalign.training.trainer import check_checkpoint

    _check_shares(spec, world)
    if resume is not None and warm_start is not None:
        raise InputError("a resumed run has its weights already: choose either resume or warm_start")
    if spec.simulation is not None and dataset_path is not None:
        raise InputError(f"this configuration simulates its images: it has no use for {dataset_path}")
    checkpoint = None if resume is None else checkpoint_to_resume(resume, run_folder)
    if checkpoint is not None:
        of_this_run = checkpoint.resolve() == (run_folder / LAST).resolve()
        check_checkpoint(checkpoint, spec, forward, exported=not of_this_run or is_exported(run_folder, spec.epochs))
    elif resume is not None:
        warm_start = recorded_warm_start(run_folder)
    check_folder(run_folder, spec, forward, resumed=checkpoint is not None)
    outputs = spec.outputs
    torch.manual_seed(stream_seed(spec.seed, Stream.WEIGHTS))
    network = build(spec.network, outputs, forward)
    if warm_start is not None:
        _start_from(network, load_network(warm_start, forward, outputs.modes), warm_start)
    dataset_path, source, simulator = dataset_path or run_folder / "dataset.h5", None, None
    if spec.simulation is not None:
        source = SimulatedImages(spec.simulation, forward, outputs, network.binning, network.stack)
    elif is_finished(spec.dataset, forward, dataset_path):
        for split in SPLITS:
            LabeledImages.load(dataset_path, split, outputs)
    else:
        simulator = planned(spec.dataset, forward)

    claim_folder(run_folder, spec, forward, warm_start, world, resumed=checkpoint is not None)
    if simulator is not None:
        _make_dataset(spec, forward, run_folder, dataset_path, simulator, progress)
    return _Job(run_folder, dataset_path, source, checkpoint, network, statistics_missing=warm_start is None)


def _check_shares(spec: TrainSpec, world: int) -> None:
    """Raise ``InputError`` unless every batch has images for each of ``world`` processes."""
    if spec.batch_size % world:
        raise InputError(f"{world} processes cannot share batches of {spec.batch_size} evenly: change batch_size")
    if spec.simulation is None:
        least = min(spec.dataset.counts[:2])
    else:
        count = spec.simulation.validation
        least = count // -(-count // spec.batch_size)
    if least < world:
        raise InputError(f"there are too few images to train or validate with for {world} processes: ask for more")


def _make_dataset(
    spec: TrainSpec,
    forward: ForwardSpec,
    run_folder: Path,
    dataset_path: Path,
    simulator: Simulator,
    progress: Progress,
) -> None:
    try:
        generate(spec.dataset, forward, dataset_path, progress=progress, simulator=simulator)
    except GenerationInterrupted as stopped:
        raise GenerationInterrupted(f"{stopped}; resume {run_folder} to go on with the training") from None


@torch.no_grad()
def evaluate(regression: Regression, test: Iterable[Batch]) -> dict[str, Any]:
    """The test figures of a ``Result``, on images that neither training nor selection has seen."""
    from stedalign.training.module import OFFSET_ERROR, SHIFT_ERROR, WAVE_ERROR, loss, squared_errors

    regression.eval()
    predicted, true = zip(*((regression(images.cpu()), labels.cpu()) for images, labels in test), strict=True)
    prediction, labels = torch.cat(predicted), torch.cat(true)
    rms = {name: float(value) ** 0.5 for name, value in squared_errors(prediction, labels, regression.outputs).items()}
    milliwaves = rms.get(f"{WAVE_ERROR}/total")
    return {
        "test_loss": float(loss(prediction, labels, regression.outputs)),
        "test_error_waves": None if milliwaves is None else milliwaves / 1000,
        "test_error_mask_offset": rms.get(f"{OFFSET_ERROR}/total"),
        "test_error_shift_nm": rms.get(f"{SHIFT_ERROR}/total"),
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
        raise InputError(f"{path} holds the weights of another network") from None
