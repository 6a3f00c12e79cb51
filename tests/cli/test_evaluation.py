"""Judging networks on the command line: each kind of the registry, and whatever does not fit together."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from command_line import Outcome, Run, run_in
from small_optics import SETUP

from stedalign.cli.evaluation import Shown
from stedalign.config import Setup
from stedalign.dataset.generate import Simulator, generate
from stedalign.dataset.spec import DatasetSpec
from stedalign.evaluation.estimators import ESTIMATORS
from stedalign.evaluation.mismatch import MISMATCHES
from stedalign.jobs.evaluate import evaluate as job
from stedalign.networks.checkpoint import WeightsRecord, save_network
from stedalign.networks.registry import NETWORKS, build
from stedalign.progress import Cancelled, Step

IMAGES = {"examples.png", "predicted.png", "error_vs_strength.png", "error_vs_photons.png"}
NOISE = {"photons": 200.0, "background_fraction": 0.05, "background": 2.0}


@pytest.fixture(scope="module", autouse=True)
def _plan_each_focus_once() -> Iterator[None]:
    """Making a dataset and evaluating on it take the same simulator."""
    plan_once = functools.cache(Simulator)
    with pytest.MonkeyPatch.context() as patch:
        for user in ("dataset.generate", "evaluation.test_set"):
            patch.setattr(f"stedalign.{user}.Simulator", plan_once)
        yield


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a setup of small images and a run of each of some networks, which are not trained."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "setup.toml").write_text(SETUP)
    for name in ("multinet11", "net12", "multioffsetnet13", "offsetnet2"):
        make_run(folder, name)
    return folder


def make_run(folder: Path, name: str) -> None:
    setup, outputs = Setup.load(folder / "setup.toml"), NETWORKS[name].outputs
    options: dict[str, Any] = {"range_peak_waves": 0.1 if outputs.modes else 0}
    if outputs.modes:
        options |= {"modes": outputs.modes.pairs, "centered": len(outputs.modes) == 11}
    if outputs.mask_offset:
        options |= {"mask_offset": 0.1}
    generate(DatasetSpec(samples=30, **options), setup.forward, folder / name / "dataset.h5")
    torch.manual_seed(0)
    module = build(name, outputs, setup.forward)
    record = WeightsRecord(name, setup.forward, outputs, {"train_spec": {"network": name, "noise": NOISE}})
    save_network(folder / name / "weights.safetensors", module, record)


def evaluate(desk: Path, name: str, *options: object) -> Outcome:
    return run_in(desk, "evaluate", "--weights", f"{name}/weights.safetensors", "--setup", "setup.toml", *options)


@pytest.mark.parametrize("name", ["multioffsetnet13", "offsetnet2"])
def test_each_kind_of_network_is_judged_by_what_it_predicts(desk: Path, name: str) -> None:
    outcome = evaluate(desk, name, "--fit", 0, "--mismatch", 0, "--out", f"judged_{name}", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert {Path(file).name for file in outcome.written} == IMAGES | {f"judged_{name}", "evaluation.json"}
    outputs, found = NETWORKS[name].outputs, outcome.json
    assert found["modes"] == (outputs.modes.pairs if outputs.modes else [])
    assert ("rms_per_mode_waves" in found["estimators"]["network"]) == (outputs.modes is not None)
    assert ("rms_mask_offset" in found["estimators"]["network"]) == outputs.mask_offset
    assert found["sections"] == list(NETWORKS[name].planes)
    assert ("bound xy" in found["bounds"]) == (NETWORKS[name].planes == ("xy",))
    assert found["noise"] == NOISE
    assert "fit" not in found["estimators"]
    assert json.loads((desk / f"judged_{name}/evaluation.json").read_text()).items() >= found.items()


def test_network_fits_and_bound_stand_side_by_side_at_the_noise_that_is_asked_for(desk: Path) -> None:
    options = "--fit", 1, "--mismatch", 0, "--photons", 1000, "--limit", 2
    outcome = evaluate(desk, "net12", *options, "--out", "side_by_side")
    assert (outcome.code, outcome.err) == (0, "")
    for words in ("2 SIMULATED images, 1000 photons, 5 %", "spherical", "total, median", "bound", "side_by_side"):
        assert words in outcome.out
    recorded = json.loads((desk / "side_by_side/evaluation.json").read_text())
    assert recorded["noise"] == NOISE | {"photons": 1000}
    assert {name: found["images"] for name, found in recorded["estimators"].items()} == {
        "network": 2,
        "fit": 1,
        "hybrid": 1,
    }


def test_the_estimators_that_are_asked_for_stand_beside_the_bound_alone(desk: Path) -> None:
    options = "--estimator", "fit", "--estimator", "hybrid", "--fit", 1, "--mismatch", 0
    outcome = evaluate(desk, "multinet11", *options, "--limit", 2, "--out", "two")
    assert (outcome.code, outcome.err) == (0, "")
    assert {Path(file).name for file in outcome.written} == IMAGES | {"two", "evaluation.json"}
    counts = next(line for line in outcome.out.splitlines() if line.strip().startswith("images"))
    assert counts.split() == ["images", "1", "1", "2"]
    recorded = json.loads((desk / "two/evaluation.json").read_text())
    assert list(recorded["estimators"]) == ["fit", "hybrid"]
    assert recorded["against_mismatch"] == {"skipped": "not asked for"}


def test_an_estimator_that_there_is_not_is_refused_with_the_names(desk: Path) -> None:
    evaluate(desk, "multinet11", "--estimator", "oracle").assert_refused("oracle", "network", "fit", "hybrid")


def test_the_command_names_the_estimators_as_the_evaluation_does() -> None:
    assert tuple(Shown) == ESTIMATORS


def test_errors_against_each_mismatch_are_drawn_and_told(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedalign.evaluation.mismatch.LEVELS", 2)
    options = "--estimator", "network", "--mismatch", 1, "--limit", 2
    outcome = evaluate(desk, "multinet11", *options, "--out", "mismatched")
    assert (outcome.code, outcome.err) == (0, "")
    assert "mismatched/error_vs_mismatch.png" in outcome.written
    assert "1 SIMULATED images at each step" in outcome.out
    against = json.loads((desk / "mismatched/evaluation.json").read_text())["against_mismatch"]
    assert against["images"] == 1
    assert set(against["mismatches"]) == set(MISMATCHES)
    assert all(list(found["median_total_waves"]) == ["network"] for found in against["mismatches"].values())


def test_a_network_of_one_section_is_not_held_against_mismatch_and_the_reason_is_told(desk: Path) -> None:
    outcome = evaluate(desk, "offsetnet2", "--fit", 0, "--limit", 2, "--out", "skipped")
    assert (outcome.code, outcome.err) == (0, "")
    assert "against mismatch: skipped, the network predicts no modes\n" in outcome.out
    assert "skipped/error_vs_mismatch.png" not in outcome.written


def test_other_modes_than_the_datas_are_refused_with_both(desk: Path) -> None:
    outcome = evaluate(desk, "multinet11", "--data", "net12/dataset.h5")
    outcome.assert_refused("dataset.h5 holds the modes [(2, -2), (2, 0)", "the weights predict [(2, -2), (2, 2)")


def test_data_without_the_mask_offset_that_the_network_predicts_are_refused(desk: Path) -> None:
    evaluate(desk, "offsetnet2", "--data", "multinet11/dataset.h5").assert_refused("holds no mask offsets")


def test_data_without_labels_are_refused(desk: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare.h5"
    path.write_bytes((desk / "multinet11/dataset.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        del file["test_labels"]
    evaluate(desk, "multinet11", "--data", path).assert_refused("bare.h5", "no test images that can be read")


def test_data_of_another_setup_are_refused_with_both_values(desk: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "fine.toml").write_text(SETUP.replace("110.0", "100.0"))
    setup, outputs = Setup.load(tmp_path / "fine.toml"), NETWORKS["multinet11"].outputs
    save_network(
        tmp_path / "w.safetensors",
        build("multinet11", outputs, setup.forward),
        WeightsRecord("multinet11", setup.forward, outputs),
    )
    command = "evaluate", "--setup", "fine.toml", "--data", desk / "multinet11/dataset.h5", "--weights"
    run(*command, "w.safetensors").assert_refused("was made for pixel_nm = [110.0", "this setup has pixel_nm = [100.0")
    weights = desk / "multinet11/weights.safetensors"
    run(*command, weights).assert_refused("weights were trained for pixel_nm = [110.0", "[100.0")


def test_a_folder_is_neither_data_nor_weights(desk: Path) -> None:
    evaluate(desk, "multinet11", "--data", "net12").assert_refused("net12 cannot be read as a dataset")
    outcome = run_in(desk, "evaluate", "--weights", "net12", "--setup", "setup.toml")
    outcome.assert_refused("there are no weights at net12")


def test_truncated_weights_are_refused(desk: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes((desk / "multinet11/weights.safetensors").read_bytes()[:-100])
    data = "--data", "multinet11/dataset.h5"
    outcome = run_in(desk, "evaluate", "--weights", path, "--setup", "setup.toml", *data)
    outcome.assert_refused("cut.safetensors is no complete safetensors file")


def test_data_that_are_neither_named_nor_beside_the_weights_are_asked_for(run: Run, desk: Path, tmp_path: Path) -> None:
    run("evaluate").assert_refused("--data")
    (tmp_path / "w.safetensors").write_bytes((desk / "multinet11/weights.safetensors").read_bytes())
    run("evaluate", "--weights", "w.safetensors", "--setup", desk / "setup.toml").assert_refused("beside", "--data")


def test_data_that_were_changed_since_have_no_bound(desk: Path, tmp_path: Path) -> None:
    """Their checksum is right, but they are not what this version simulates."""
    path = tmp_path / "other.h5"
    path.write_bytes((desk / "multinet11/dataset.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["dataset_spec"] = json.dumps(json.loads(file.attrs["dataset_spec"]) | {"centered": False})
    evaluate(desk, "multinet11", "--data", path, "--fit", 0).assert_refused("make the dataset again")


@pytest.mark.parametrize(
    "last", ["network", "fit from zero, reconstruction", "bound", "against each mismatch", "drawing"]
)
def test_a_canceled_evaluation_ends_at_the_next_step_and_writes_nothing(desk: Path, tmp_path: Path, last: str) -> None:
    cancel, steps = threading.Event(), list[str]()

    def watch(step: Step) -> None:
        steps.append(step.title)
        if step.title == last:
            cancel.set()

    weights, setup = desk / "multinet11/weights.safetensors", Setup.load(desk / "setup.toml")
    few: dict[str, Any] = {"limit": 2, "fits": 1, "mismatch": 1}
    with pytest.raises(Cancelled, match="stopped at"):
        job(setup, tmp_path / "run", weights=weights, **few, progress=watch, cancel=cancel)
    assert steps[-1] == last
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("files", range(6))
def test_a_full_disk_leaves_nothing_of_an_evaluation(desk: Path, tmp_path: Path, full_disk: Any, files: int) -> None:
    full_disk(files)
    options = "--fit", 0, "--limit", 2, "--mismatch", 0, "--out", tmp_path / "run"
    outcome = evaluate(desk, "offsetnet2", *options)
    if files < len(IMAGES) + 1:
        outcome.assert_refused(str(tmp_path / "run"), "no space left on device", code=1)
        assert list(tmp_path.iterdir()) == []
    else:
        assert outcome.code == 0


def test_ctrl_c_leaves_nothing_behind(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stedalign.jobs.evaluate.compare", interrupted)
    evaluate(desk, "multinet11").assert_refused("stopped by Ctrl-C", code=1)
