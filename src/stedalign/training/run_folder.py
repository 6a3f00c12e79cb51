"""The folder of a run: what lies in it, whether a run may begin or go on there, and what it says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tomlkit

from stedalign.errors import InputError
from stedalign.files import remove_leftovers, replacing, write_json
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.provenance import environment
from stedalign.training.record import check_record, run_record
from stedalign.training.spec import TrainSpec

CONFIG, RECIPE, LOG = "run.json", "train.toml", "log.jsonl"
RESULTS, WEIGHTS, LAST = "results.json", "weights.safetensors", "checkpoints/last.ckpt"


def describe(spec: TrainSpec, forward: ForwardSpec) -> dict[str, Any]:
    """What is trained, by which version, on what machine; fits JSON."""
    return {**run_record(spec, forward), "seed": spec.seed, **environment()}


def check_folder(folder: Path, spec: TrainSpec, forward: ForwardSpec, *, resumed: bool) -> None:
    """Raise ``InputError`` with one line where the folder holds another run, or files that a run would replace.

    A resumed run may ask for more epochs and for nothing else.
    """
    config = folder / CONFIG
    if not config.exists():
        foreign = [name for name in (RECIPE, LOG, RESULTS, WEIGHTS, LAST) if (folder / name).exists()]
        if foreign and not (resumed and LAST in foreign):
            raise InputError(f"choose another folder: {folder} holds no run, but {foreign[0]}, which would be replaced")
        return
    check_record(json.loads(config.read_text()), spec, forward, f"choose another folder: {folder} holds a run of")
    if not resumed and (folder / LAST).exists():
        raise InputError(f"{folder} holds a run already: resume it or choose another folder")


def claim_folder(
    folder: Path, spec: TrainSpec, forward: ForwardSpec, warm_start: Path | None, world: int, *, resumed: bool
) -> None:
    """Write down what is about to be done by ``world`` processes, in a folder that ``check_folder`` lets pass."""
    folder.mkdir(parents=True, exist_ok=True)
    start = None if warm_start is None else str(warm_start.resolve())
    if resumed and (folder / CONFIG).exists():
        start = json.loads((folder / CONFIG).read_text()).get("warm_start")
    for place in (folder, (folder / LAST).parent):
        remove_leftovers(place)
    write_json(folder / CONFIG, describe(spec, forward) | {"warm_start": start, "processes": world})
    with replacing(folder / RECIPE) as temporary:
        idle = {"dataset", "noise"} if spec.simulation is not None else None
        described = spec.model_dump(mode="json", exclude_none=True, exclude=idle)
        temporary.write_text(tomlkit.dumps(described), encoding="utf-8")


def checkpoint_to_resume(resume: Path, run_folder: Path) -> Path | None:
    """The checkpoint to go on from, or None where the run in ``run_folder`` was stopped before its first one.

    Raises ``InputError`` where there is neither.
    """
    checkpoint = resume / LAST if resume.is_dir() else resume
    if checkpoint.is_file():
        return checkpoint
    if resume.resolve() == run_folder.resolve() and (run_folder / CONFIG).is_file():
        return None
    raise InputError(f"there is nothing to resume: {checkpoint} does not exist")


def is_exported(folder: Path, epochs: int) -> bool:
    """Whether a run of so many epochs came to its end; its results are the last thing that it writes."""
    results = folder / RESULTS
    return results.is_file() and json.loads(results.read_text()).get("epochs", epochs) >= epochs


def recorded_warm_start(folder: Path) -> Path | None:
    """The weights that the run in the folder began with."""
    recorded = json.loads((folder / CONFIG).read_text()).get("warm_start")
    return None if recorded is None else Path(recorded)
