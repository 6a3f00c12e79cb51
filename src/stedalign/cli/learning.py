"""Commands of the learning system: dataset, train."""

from __future__ import annotations

from pathlib import Path
from reprlib import repr as brief
from typing import TYPE_CHECKING, Annotated

import typer

from stedalign.cli.options import (
    Json,
    Overwrite,
    SetupFile,
    check_writable,
    print_json,
    read_setup,
    run_folder,
)
from stedalign.cli.progress import shown
from stedalign.errors import InputError
from stedalign.ranges import MOST_IMAGES

if TYPE_CHECKING:
    from stedalign.dataset.spec import DatasetSpec
    from stedalign.jobs.dataset import MadeDataset
    from stedalign.training.run import Result
    from stedalign.training.trainer import Epoch

Config = Annotated[Path, typer.Argument(help="Training configuration, such as configs/origin/multinet11.toml.")]


def dataset(
    out: Annotated[Path, typer.Option(help="HDF5 file to make; a started one is gone on with.")],
    config: Annotated[
        Path | None, typer.Option(help="Training configuration whose [dataset] is made; the origin's without it.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=10, max=MOST_IMAGES, help="Another number of samples.")] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Make the I-th of N shards alone, as one job of an array.")
    ] = None,
    join: Annotated[bool, typer.Option("--join", help="Make OUT from its shards, which stay beside it.")] = False,
    setup: SetupFile = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Simulate a dataset: noise-free images and their coefficients, split for training, validation and test."""
    from stedalign.dataset.parts import Shard
    from stedalign.jobs.dataset import MadeShard, join_dataset, make_dataset, make_shard

    the_setup = read_setup(setup)
    if shard is not None and join:
        raise InputError("choose either --shard or --join: shards are joined when all are there")
    the_shard = None if shard is None else Shard.parse(shard)
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file")
    check_writable(out.parent)
    spec = _read_dataset_spec(config, samples)
    done: MadeDataset | MadeShard
    with shown("reading", quiet=json) as tell:
        if the_shard is not None:
            done = make_shard(the_setup, out, spec, the_shard, overwrite=overwrite, progress=tell)
        else:
            make = join_dataset if join else make_dataset
            done = make(the_setup, out, spec, overwrite=overwrite, progress=tell)
    if json:
        print_json(done.to_json())
    elif isinstance(done, MadeShard):
        last = done.first + done.samples - 1
        print(f"{done.folder}: shard {done.shard}, images {done.first} to {last} of {spec.samples}")
    else:
        words = ", ".join(f"{count} {split}" for split, count in done.counts.items())
        print(f"{out}: {words}")


def _read_dataset_spec(config: Path | None, samples: int | None) -> DatasetSpec:
    """What a training configuration asks a dataset to hold. Raises ``InputError`` for one that needs none."""
    from stedalign.dataset.spec import DatasetSpec
    from stedalign.training.spec import load_train_spec

    recipe = load_train_spec(config) if config else None
    if recipe is not None and recipe.simulation is not None:
        raise InputError(f"{config} simulates its images while it trains: it has no dataset")
    spec = DatasetSpec() if recipe is None else recipe.dataset
    return spec if samples is None else DatasetSpec.parse(spec.model_dump() | {"samples": samples})


def train(
    config: Config,
    data: Annotated[Path | None, typer.Option(help="Dataset; made where it is missing.")] = None,
    setup: SetupFile = None,
    epochs: Annotated[int | None, typer.Option(min=1, max=100_000, help="Another number of epochs.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run's folder or checkpoint.")] = None,
    warm_start: Annotated[Path | None, typer.Option(help="Begin with these weights (.safetensors).")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; new under runs/, or the resumed one.")] = None,
    devices: Annotated[
        str, typer.Option(metavar="N|auto", help="GPUs, or CPU processes, that train on each node; auto = all GPUs.")
    ] = "1",
    nodes: Annotated[
        int, typer.Option(min=1, max=10_000, help="Machines that train, each of which runs this command.")
    ] = 1,
    json: Json = False,
) -> None:
    """Train a network; curves for TensorBoard, checkpoints and the best weights go to the run folder."""
    from stedalign.jobs.train import train as job
    from stedalign.training.run import require_extra
    from stedalign.training.spec import TrainSpec, load_train_spec

    require_extra()
    if devices != "auto" and not (devices.isdecimal() and len(devices) < 5 and int(devices) > 0):
        raise InputError(f"--devices {brief(devices)}: give a number of devices from 1 to 9999, or auto")
    the_setup = read_setup(setup)
    spec = load_train_spec(config)
    if data is not None:
        check_writable(data.parent)
    if epochs is not None:
        spec = TrainSpec.parse(spec.model_dump() | {"epochs": epochs})
    folder = out or (resume if resume is not None and resume.is_dir() else run_folder(None, "train"))
    check_writable(folder)

    def tell_epoch(epoch: Epoch) -> None:
        if not json:
            print(epoch, flush=True)

    with shown("reading", quiet=json) as tell:
        result = job(
            the_setup,
            spec,
            folder,
            data=data,
            resume=resume,
            warm_start=warm_start,
            devices="auto" if devices == "auto" else int(devices),
            nodes=nodes,
            watch=tell_epoch,
            progress=tell,
        )
    if json:
        print_json(result.to_json())
    else:
        _print_result(result)


def _print_result(result: Result) -> None:
    errors = []
    if result.test_error_waves is not None:
        errors.append(f"{1e3 * result.test_error_waves:.1f} mλ rms over all modes")
    if result.test_error_mask_offset is not None:
        errors.append(f"{result.test_error_mask_offset:.4f} pupil radii of mask offset")
    if result.test_error_shift_nm is not None:
        errors.append(f"{result.test_error_shift_nm:.1f} nm of shift")
    print(f"best epoch {result.epoch}: validation loss {result.validation_loss:.4f}, test error {', '.join(errors)}")
    print(f"weights  {result.weights}\ncurves   tensorboard --logdir {result.run_folder}")
