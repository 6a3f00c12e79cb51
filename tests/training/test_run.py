"""Training from end to end, on images small enough for seconds."""

import importlib.util
import json
import threading
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch
from small_optics import FORWARD

from stedalign.dataset.generate import generate
from stedalign.dataset.spec import DatasetSpec
from stedalign.imaging.detector import Bead
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.networks.checkpoint import CheckpointError, load_network
from stedalign.networks.outputs import Outputs
from stedalign.optics.wavefront import ModeSet
from stedalign.progress import Cancelled, Progress, Step
from stedalign.provenance import environment, source_commit
from stedalign.training.module import Regression, loss, squared_errors
from stedalign.training.run import MissingExtraError, Result, train
from stedalign.training.spec import SimulationSpec, TrainSpec
from stedalign.training.trainer import TrainingInterrupted

DATA = DatasetSpec(samples=40, modes=((2, 2), (3, 1)))
SPEC = TrainSpec(epochs=3, batch_size=8, seed=1, dataset=DATA)
WEIGHTS = "weights.safetensors"
FullDisk = Callable[[int], Callable[[], int]]


def losses(folder: Path, name: str = "train_loss") -> list[float]:
    return [json.loads(line)[name] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(DATA, FORWARD, tmp_path_factory.mktemp("data") / "data.h5")


@pytest.fixture(scope="module")
def result(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return train(SPEC, FORWARD, tmp_path_factory.mktemp("run"), data)


def test_the_loss_is_the_mean_over_the_batch_summed_over_the_outputs() -> None:
    labels = torch.zeros(2, 3)
    prediction = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    outputs = Outputs(ModeSet.of([(2, -2), (2, 2), (4, 0)]))
    assert loss(prediction, labels, outputs) == (1 + 9) / 2 + 4 / 2


def test_errors_are_counted_in_rms_waves() -> None:
    squares = squared_errors(torch.tensor([[0.6, 0.5]]), torch.zeros(1, 2), Outputs(ModeSet.of([(2, 2), (4, 0)])))
    astigmatism, spherical = 1e6 * 0.36 / 6, 1e6 * 0.25 / 5
    assert {name: float(value) for name, value in squares.items()} == pytest.approx(
        {
            "error_milliwaves/2_2": astigmatism,
            "error_milliwaves/4_0": spherical,
            "error_milliwaves/total": astigmatism + spherical,
        }
    )


def test_errors_of_the_mask_offset_are_counted_in_pupil_radii() -> None:
    squares = squared_errors(torch.tensor([[0.3, -0.4]]), torch.zeros(1, 2), Outputs(None, mask_offset=True))
    assert {name: float(value) for name, value in squares.items()} == pytest.approx(
        {
            "error_pupil_radii/mask_offset_x": 0.09,
            "error_pupil_radii/mask_offset_y": 0.16,
            "error_pupil_radii/total": 0.25,
        }
    )


def test_training_lowers_the_loss(data: Path, tmp_path: Path) -> None:
    train(SPEC.model_copy(update={"epochs": 6, "batch_size": 4}), FORWARD, tmp_path, data)
    assert losses(tmp_path)[-1] < 0.7 * losses(tmp_path)[0]


def test_a_run_folder_tells_how_it_was_made(result: Result) -> None:
    config = json.loads((result.run_folder / "run.json").read_text())
    assert TrainSpec.model_validate(config["train_spec"]) == SPEC
    assert config["setup_hash"] == FORWARD.hash
    assert config["seed"] == SPEC.seed
    assert config["commit"] == source_commit()
    assert {name: config[name] for name in ("python", "platform", "versions")}.items() <= environment().items()
    assert list((result.run_folder / "tensorboard").glob("events.*"))
    assert json.loads((result.run_folder / "results.json").read_text())["test_loss"] == result.test_loss


def test_the_exported_weights_are_those_of_the_best_epoch(result: Result) -> None:
    network = load_network(result.weights, FORWARD, DATA.mode_set)
    checkpoint = torch.load(result.run_folder / "checkpoints" / "best.ckpt", weights_only=True)
    for name, tensor in network.module.state_dict().items():
        assert torch.equal(tensor, checkpoint["state_dict"][f"network.{name}"])
    assert network.training["epoch"] == result.epoch == checkpoint["epoch"] + 1
    assert min(losses(result.run_folder, "val_loss")) == pytest.approx(result.validation_loss)


def test_checkpoints_keep_the_optimizer(result: Result) -> None:
    checkpoint = torch.load(result.run_folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["optimizer_states"][0]["state"]


def test_two_runs_with_one_seed_agree(result: Result, data: Path, tmp_path: Path) -> None:
    again = train(SPEC, FORWARD, tmp_path, data)
    assert again.test_loss == result.test_loss
    assert losses(again.run_folder) == losses(result.run_folder)


def test_a_resumed_run_ends_like_the_unbroken_one(result: Result, data: Path, tmp_path: Path) -> None:
    train(SPEC.model_copy(update={"epochs": 2}), FORWARD, tmp_path, data)
    resumed = train(SPEC, FORWARD, tmp_path, data, resume=tmp_path)
    assert losses(tmp_path) == losses(result.run_folder)
    assert resumed.test_loss == result.test_loss


@pytest.fixture
def last(result: Result) -> Path:
    return result.run_folder / "checkpoints" / "last.ckpt"


LONGER = SPEC.model_copy(update={"epochs": 4})


@pytest.mark.parametrize(
    ("spec", "forward", "words"),
    [
        (LONGER.model_copy(update={"seed": 2}), FORWARD, r"training\.seed = 1; asked for: training\.seed = 2"),
        (
            LONGER.model_copy(update={"dataset": DATA.model_copy(update={"modes": ((2, 2), (3, -1))})}),
            FORWARD,
            r"modes = .*3, 1.*asked for: .*3, -1",
        ),
        (
            LONGER,
            FORWARD.model_copy(update={"bead": Bead(diameter_nm=80)}),
            r"diameter_nm = 0\.0; asked for: diameter_nm = 80",
        ),
    ],
    ids=["training", "modes", "optics"],
)
def test_a_checkpoint_of_another_run_cannot_be_resumed_elsewhere(
    last: Path, data: Path, tmp_path: Path, spec: TrainSpec, forward: ForwardSpec, words: str
) -> None:
    with pytest.raises(ValueError, match=f"is a checkpoint of another configuration .{words}"):
        train(spec, forward, tmp_path / "run", data, resume=last)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_goes_on_elsewhere_with_more_epochs(last: Path, data: Path, tmp_path: Path) -> None:
    train(LONGER, FORWARD, tmp_path, data, resume=last)
    assert [json.loads(line)["epoch"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [4]


def test_a_checkpoint_that_says_nothing_of_its_run_is_taken(last: Path, data: Path, tmp_path: Path) -> None:
    content = torch.load(last, weights_only=True)
    del content["stedalign"]
    torch.save(content, tmp_path / "old.ckpt")
    train(LONGER, FORWARD, tmp_path / "run", data, resume=tmp_path / "old.ckpt")
    assert (tmp_path / "run" / WEIGHTS).exists()


@pytest.mark.parametrize("epochs", [3, 2])
def test_without_an_epoch_left_one_line_says_so(result: Result, data: Path, tmp_path: Path, epochs: int) -> None:
    spec = SPEC.model_copy(update={"epochs": epochs})
    with pytest.raises(ValueError, match=f"^nothing left to train: .* has 3 of {epochs} epochs") as caught:
        train(spec, FORWARD, tmp_path / "run", data, resume=result.run_folder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_from_before_a_key_existed_can_be_resumed(data: Path, tmp_path: Path) -> None:
    train(SPEC.model_copy(update={"epochs": 1}), FORWARD, tmp_path, data)
    config = json.loads((tmp_path / "run.json").read_text())
    del config["forward_spec"]["beam"]["stop_radius"], config["train_spec"]["step_epochs"]
    (tmp_path / "run.json").write_text(json.dumps(config | {"setup_hash": "of another version"}))
    train(SPEC.model_copy(update={"epochs": 2}), FORWARD, tmp_path, data, resume=tmp_path)
    assert len(losses(tmp_path)) == 2


def test_ctrl_c_says_how_to_go_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(module: Regression) -> None:
        if module.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Regression, "on_train_epoch_end", press)
    with pytest.raises(TrainingInterrupted, match="1 of 3 epochs are kept") as caught:
        train(SPEC, FORWARD, tmp_path, data)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / WEIGHTS).exists()


def test_a_canceled_run_ends_at_the_next_batch_and_goes_on_to_the_same_curve(
    result: Result, data: Path, tmp_path: Path
) -> None:
    cancel, epochs = threading.Event(), []

    def watch(step: Step) -> None:
        if step.title == "training, epoch 2 of 3" and step.done == 2:
            cancel.set()

    with pytest.raises(Cancelled, match=r"stopped at 'training, epoch 2 of 3' \(3 of 4\)"):
        train(SPEC, FORWARD, tmp_path, data, progress=Progress(watch, cancel), watch=epochs.append)
    assert [epoch.number for epoch in epochs] == [1]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [epochs[0].to_json()]
    assert not {WEIGHTS, "results.json"} & {path.name for path in tmp_path.iterdir()}
    resumed = train(SPEC, FORWARD, tmp_path, data, resume=tmp_path)
    assert losses(tmp_path) == losses(result.run_folder)
    assert resumed.test_loss == result.test_loss


def test_a_full_disk_leaves_no_weights_without_their_results(data: Path, tmp_path: Path, full_disk: FullDisk) -> None:
    spec = SPEC.model_copy(update={"epochs": 1})
    written = full_disk(100)
    train(spec, FORWARD, tmp_path / "whole", data)
    full_disk(written() - 1)
    with pytest.raises(OSError, match="No space left") as caught:
        train(spec, FORWARD, tmp_path / "full", data)
    assert caught.value.filename == str(tmp_path / "full" / "results.json")
    assert not {WEIGHTS, "results.json"} & {path.name for path in (tmp_path / "full").iterdir()}
    full_disk(100)
    train(spec, FORWARD, tmp_path / "full", data, resume=tmp_path / "full")
    assert (tmp_path / "full" / WEIGHTS).exists()


FAR = SimulationSpec(shift_nm=500)


@pytest.mark.parametrize(
    ("case", "spec", "words"),
    [
        ("damaged", SPEC, "the test images in .* are damaged"),
        ("other", SPEC.model_copy(update={"dataset": DATA.model_copy(update={"seed": 7})}), "holds another dataset"),
        ("far", SPEC.model_copy(update={"dataset": DATA.model_copy(update={"shift_nm": (500, 0, 0)})}), "^shift_nm: "),
        ("endless", SPEC.model_copy(update={"simulation": FAR}), "^shift_nm and drift_nm: "),
        ("foreign", SPEC, "holds no run, but train.toml, which would be replaced"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_what_is_refused_leaves_everything_as_it_was(
    data: Path, tmp_path: Path, case: str, spec: TrainSpec, words: str
) -> None:
    dataset = None
    if case in ("damaged", "other"):
        dataset = tmp_path / "data.h5"
        dataset.write_bytes(data.read_bytes())
    if case == "damaged":
        with h5py.File(dataset, "a") as file:
            file["test_img"][0, 0, 0, 0] += 1
    if case == "foreign":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "train.toml").write_text("# mine")
    before = content(tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        train(spec, FORWARD, tmp_path / "run", dataset)
    assert "\n" not in str(caught.value)
    assert content(tmp_path) == before


def content(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_warm_start_begins_with_the_given_weights(result: Result, data: Path, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"epochs": 1, "learning_rate": 1e-12})
    started = train(spec, FORWARD, tmp_path, data, warm_start=result.weights)
    assert started.test_loss == pytest.approx(result.test_loss, rel=1e-4)


def test_weights_of_other_modes_cannot_start_a_run(result: Result, data: Path, tmp_path: Path) -> None:
    other = SPEC.model_copy(update={"dataset": DATA.model_copy(update={"modes": ((2, 2),)})})
    with pytest.raises(CheckpointError, match="trained for the modes"):
        train(other, FORWARD, tmp_path, data, warm_start=result.weights)


def test_the_learning_rate_steps_down_when_asked(data: Path, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"epochs": 2, "step_epochs": 1})
    train(spec, FORWARD, tmp_path, data)
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(1e-5)


def test_a_folder_with_a_run_is_not_reused_unasked(result: Result, data: Path) -> None:
    with pytest.raises(ValueError, match="resume it or choose another"):
        train(SPEC, FORWARD, result.run_folder, data)
    changed = SPEC.model_copy(update={"seed": 2})
    with pytest.raises(ValueError, match="another configuration"):
        train(changed, FORWARD, result.run_folder, data, resume=result.run_folder)


@pytest.mark.parametrize("content", [None, {"epoch": 1}, [1]])
def test_a_damaged_checkpoint_cannot_be_resumed(data: Path, tmp_path: Path, content: object) -> None:
    broken = tmp_path / "broken.ckpt"
    if content is None:
        broken.write_bytes(b"not a checkpoint")
    else:
        torch.save(content, broken)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        train(SPEC, FORWARD, tmp_path / "run", data, resume=broken)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'training needs the extra "train": pip install'):
        train(SPEC, FORWARD, tmp_path)


def test_the_last_checkpoint_is_of_the_last_epoch_even_where_an_earlier_one_was_better(
    data: Path, tmp_path: Path
) -> None:
    train(SPEC.model_copy(update={"epochs": 4, "learning_rate": 3.0}), FORWARD, tmp_path, data)
    best, last = (torch.load(tmp_path / "checkpoints" / name, weights_only=True) for name in ("best.ckpt", "last.ckpt"))
    assert best["epoch"] < last["epoch"] == 3
