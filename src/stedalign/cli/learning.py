"""Commands of the learning system: dataset, train."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

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
from stedalign.errors import InputError

Config = Annotated[Path, typer.Argument(help="Training configuration, such as configs/origin/multinet11.toml.")]


def dataset(
    out: Annotated[Path, typer.Option(help="HDF5 file to make; a started one is gone on with.")],
    config: Annotated[
        Path | None, typer.Option(help="Training configuration whose [dataset] is made; the origin's without it.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=10, help="Another number of samples.")] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Make the I-th of N shards alone, as one job of an array.")
    ] = None,
    join: Annotated[bool, typer.Option("--join", help="Make OUT from its shards, which stay beside it.")] = False,
    setup: SetupFile = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Simulate a dataset: noise-free images and their coefficients, split for training, validation and test."""
    from stedalign.dataset.generate import generate, generate_shard, join_shards, progress_bar
    from stedalign.dataset.parts import Shard
    from stedalign.dataset.spec import DatasetSpec
    from stedalign.training.spec import load_train_spec

    the_setup = read_setup(setup)
    if shard is not None and join:
        raise InputError("choose either --shard or --join: shards are joined when all are there")
    the_shard = None if shard is None else Shard.parse(shard)
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file")
    check_writable(out.parent)
    recipe = load_train_spec(config) if config else None
    if recipe is not None and recipe.simulation is not None:
        raise InputError(f"{config} simulates its images while it trains: it has no dataset")
    spec = DatasetSpec() if recipe is None else recipe.dataset
    if samples is not None:
        spec = DatasetSpec.parse(spec.model_dump() | {"samples": samples})
    # The bar is on standard output, where nothing else may stand beside JSON, and a file has no use for it.
    with progress_bar() if sys.stdout.isatty() and not json else nullcontext() as report:
        if the_shard is not None:
            parts = generate_shard(spec, the_setup.forward, out, the_shard, overwrite=overwrite, report=report)
        elif join:
            join_shards(spec, the_setup.forward, out, overwrite=overwrite)
        else:
            generate(spec, the_setup.forward, out, overwrite=overwrite, report=report)
    if the_shard is not None:
        first, count = parts[0].first, sum(part.count for part in parts)
        if json:
            print_json({"file": str(out), "shard": str(the_shard), "first": first, "samples": count})
        else:
            print(f"{parts[0].folder}: shard {the_shard}, images {first} to {first + count - 1} of {spec.samples}")
        return
    counts = dict(zip(("train", "val", "test"), spec.counts, strict=True))
    if json:
        print_json({"file": str(out), "samples": counts, "spec": spec.model_dump(mode="json")})
    else:
        words = ", ".join(f"{count} {split}" for split, count in counts.items())
        print(f"{out}: {words}")


def train(
    config: Config,
    data: Annotated[Path | None, typer.Option(help="Dataset; made where it is missing.")] = None,
    setup: SetupFile = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Another number of epochs.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run's folder or checkpoint.")] = None,
    warm_start: Annotated[Path | None, typer.Option(help="Begin with these weights (.safetensors).")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; new under runs/, or the resumed one.")] = None,
    devices: Annotated[
        str, typer.Option(metavar="N|auto", help="GPUs, or CPU processes, that train on each node; auto = all GPUs.")
    ] = "1",
    nodes: Annotated[int, typer.Option(min=1, help="Machines that train, each of which runs this command.")] = 1,
    json: Json = False,
) -> None:
    """Train a network; curves for TensorBoard, checkpoints and the best weights go to the run folder."""
    from stedalign.training.run import require_extra, train
    from stedalign.training.spec import TrainSpec, load_train_spec

    require_extra()
    if devices != "auto" and not (devices.isdecimal() and int(devices) > 0):
        raise InputError(f"--devices {devices}: give a number of devices from 1, or auto")
    the_setup = read_setup(setup)
    spec = load_train_spec(config)
    if data is not None:
        check_writable(data.parent)
    if epochs is not None:
        spec = TrainSpec.parse(spec.model_dump() | {"epochs": epochs})
    folder = out or (resume if resume is not None and resume.is_dir() else run_folder(None, "train"))
    check_writable(folder)
    result = train(
        spec,
        the_setup.forward,
        folder,
        data,
        resume=resume,
        warm_start=warm_start,
        progress=not json,
        devices="auto" if devices == "auto" else int(devices),
        nodes=nodes,
    )
    figures = {
        "epoch": result.epoch,
        "validation_loss": result.validation_loss,
        "test_loss": result.test_loss,
        "test_error_waves": result.test_error_waves,
        "test_error_mask_offset": result.test_error_mask_offset,
        "test_error_shift_nm": result.test_error_shift_nm,
        "weights": str(result.weights),
        "run_folder": str(result.run_folder),
    }
    if json:
        print_json(figures)
        return
    errors = []
    if result.test_error_waves is not None:
        errors.append(f"{1e3 * result.test_error_waves:.1f} mλ rms over all modes")
    if result.test_error_mask_offset is not None:
        errors.append(f"{result.test_error_mask_offset:.4f} pupil radii of mask offset")
    if result.test_error_shift_nm is not None:
        errors.append(f"{result.test_error_shift_nm:.1f} nm of shift")
    print(f"best epoch {result.epoch}: validation loss {result.validation_loss:.4f}, test error {', '.join(errors)}")
    print(f"weights  {result.weights}\ncurves   tensorboard --logdir {result.run_folder}")
