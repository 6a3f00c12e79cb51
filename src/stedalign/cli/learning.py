"""Commands of the learning system: dataset, train, evaluate."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stedalign.cli.options import (
    Json,
    Overwrite,
    SetupFile,
    Weights,
    check_writable,
    print_json,
    read_setup,
    run_folder,
)

Config = Annotated[Path, typer.Argument(help="Training configuration, such as configs/report/multinet11.toml.")]


def dataset(
    out: Annotated[Path, typer.Option(help="HDF5 file to make; a started one is gone on with.")],
    config: Annotated[
        Path | None, typer.Option(help="Training configuration whose [dataset] is made; the report's without it.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=10, help="Another number of samples.")] = None,
    setup: SetupFile = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Simulate a dataset: noise-free pictures and their coefficients, split for training, validation and test."""
    from stedalign.dataset.generate import generate, progress_bar
    from stedalign.dataset.spec import DatasetSpec
    from stedalign.training.spec import load_train_spec

    the_setup = read_setup(setup)
    if out.is_dir():
        raise ValueError(f"{out} is a folder; name a file")
    check_writable(out.parent)
    spec = load_train_spec(config).dataset if config else DatasetSpec()
    if samples is not None:
        spec = DatasetSpec.parse(spec.model_dump() | {"samples": samples})
    # The bar is on standard output, where nothing else may stand beside JSON, and a file has no use for it.
    with progress_bar() if sys.stdout.isatty() and not json else nullcontext() as report:
        generate(spec, the_setup.forward, out, overwrite=overwrite, report=report)
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
    json: Json = False,
) -> None:
    """Train a network; curves for TensorBoard, checkpoints and the best weights go to the run folder."""
    from stedalign.training.run import require_extra, train
    from stedalign.training.spec import TrainSpec, load_train_spec

    require_extra()
    the_setup = read_setup(setup)
    spec = load_train_spec(config)
    if epochs is not None:
        spec = TrainSpec.parse(spec.model_dump() | {"epochs": epochs})
    folder = out or (resume if resume is not None and resume.is_dir() else run_folder(None, "train"))
    result = train(spec, the_setup.forward, folder, data, resume=resume, warm_start=warm_start, progress=not json)
    figures = {
        "epoch": result.epoch,
        "validation_loss": result.validation_loss,
        "test_loss": result.test_loss,
        "test_error_waves": result.test_error_waves,
        "test_error_mask_offset": result.test_error_mask_offset,
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
    print(f"best epoch {result.epoch}: validation loss {result.validation_loss:.4f}, test error {' and '.join(errors)}")
    print(f"weights  {result.weights}\ncurves   tensorboard --logdir {result.run_folder}")


def evaluate(
    data: Annotated[Path, typer.Option(help="Dataset whose test split is predicted.")],
    weights: Weights = None,
    setup: SetupFile = None,
    photons: Annotated[float, typer.Option(min=0, help="Counts at the crest; 0 = no noise.")] = 350,
    background: Annotated[float, typer.Option(min=0, help="Background as a fraction of the crest.")] = 0.02,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pictures.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for picture and JSON; new under runs/.")] = None,
    json: Json = False,
) -> None:
    """Evaluate a network on a dataset's test split: MSE, rms error per mode, Pearson correlation."""
    import torch
    from rich.progress import track

    from stedalign.api import DEFAULT_NETWORK
    from stedalign.dataset.storage import check_optics, read_split
    from stedalign.evaluation.open_loop import evaluate_network
    from stedalign.evaluation.report import draw_open_loop
    from stedalign.files import write_json
    from stedalign.imaging.forward import ForwardModel
    from stedalign.networks.checkpoint import load_network, packaged_weights
    from stedalign.training.data import add_noise
    from stedalign.training.spec import NoiseSpec

    the_setup = read_setup(setup)
    folder = run_folder(out, "evaluate")
    check_optics(data, the_setup.forward, the_setup.modes)
    network = load_network(weights or packaged_weights(DEFAULT_NETWORK), the_setup.forward, the_setup.modes)
    images, labels = read_split(data, "test")
    images, labels = images[:limit], labels[:limit]
    noise = NoiseSpec(photons=photons, background_fraction=background)
    generator = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    result = evaluate_network(
        network,
        ForwardModel(the_setup.forward, the_setup.modes),
        lambda pictures: add_noise(pictures, noise, generator),
        images,
        labels / the_setup.modes.norms,
        lambda items, count: track(
            items, "evaluating", total=count, console=Console(stderr=True, quiet=json), transient=True
        ),
    )
    figures = result.to_json() | {"photons": photons, "background": background, "run_folder": str(folder)}
    write_json(folder / "evaluation.json", figures)
    draw_open_loop(folder / "evaluation.png", result, f"{len(images)} SIMULATED pictures at {photons:g} photons")
    if json:
        print_json(figures)
        return
    table = Table(title=f"{len(images)} pictures, {photons:g} photons", title_justify="left")
    for name in ("mode", "(n, m)", "rms error (mλ)"):
        table.add_column(name, justify="left" if name == "mode" else "right")
    for mode, error in zip(result.modes, result.rms_per_mode_waves, strict=True):
        table.add_row(mode.name, f"{mode.n}, {mode.m}", f"{1e3 * error:.2f}")
    table.add_section()
    table.add_row("total", "", f"{1e3 * figures['rms_total_waves']:.1f}")
    table.add_row("total to be found", "", f"{1e3 * figures['rms_true_waves']:.1f}")
    table.add_row("median of totals", "", f"{1e3 * figures['median_total_waves']:.1f}")
    Console(highlight=False).print(table)
    print(
        f"MSE {result.mse_peak_waves:.5f} peak waves squared, correlation with the rebuilt focus "
        f"{figures['correlation_mean']:.4f} (mean)\npicture and numbers  {folder}"
    )
