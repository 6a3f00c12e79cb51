"""A training that is killed at any moment goes on to the same end."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_optics import FORWARD

from stedalign.dataset.generate import GenerationInterrupted, generate
from stedalign.dataset.parts import Part
from stedalign.dataset.spec import DatasetSpec
from stedalign.files import leftovers, write_json
from stedalign.training import run
from stedalign.training.lightning_fixes import WholeCheckpoints
from stedalign.training.module import Regression
from stedalign.training.run import RESULTS, Result, train
from stedalign.training.spec import TrainSpec

DATA = DatasetSpec(samples=40, modes=((2, 2), (3, 1)))
SPEC = TrainSpec(epochs=3, batch_size=8, seed=1, dataset=DATA)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the program expects it."""


def killed(*arguments: object, **options: object) -> None:
    raise Killed


def killed_before_the_results(path: Path, content: dict[str, object]) -> None:
    if path.name == RESULTS:
        raise Killed
    write_json(path, content)


def killed_in_epoch(epoch: int) -> Callable[[Regression], None]:
    def hook(module: Regression) -> None:
        if module.current_epoch == epoch - 1:
            raise Killed

    return hook


def killed_while_writing(nth: int) -> Callable[[Path, memoryview], None]:
    """A ``Path.write_bytes`` that ends in the middle of the nth file."""
    write, calls = Path.write_bytes, []

    def partly(path: Path, content: memoryview) -> None:
        calls.append(path)
        if len(calls) == nth:
            write(path, content[:100])
            raise Killed
        write(path, content)

    return partly


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(DATA, FORWARD, tmp_path_factory.mktemp("data") / "data.h5")


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return train(SPEC, FORWARD, tmp_path_factory.mktemp("run"), data)


def losses(folder: Path) -> list[tuple[int, float, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["epoch"], line["train_loss"], line["val_loss"]) for line in lines]


@pytest.mark.parametrize(
    ("where", "name", "kill"),
    [
        (Regression, "on_train_epoch_start", killed_in_epoch(1)),
        # The log has the epoch then, the checkpoint does not.
        (Regression, "on_train_epoch_end", killed_in_epoch(1)),
        (Regression, "on_train_epoch_end", killed_in_epoch(2)),
        # Each epoch writes the last checkpoint, and the best one while it gets better.
        (Path, "write_bytes", killed_while_writing(2)),
        (Path, "write_bytes", killed_while_writing(3)),
        (run, "save_network", killed),
        (run, "write_json", killed_before_the_results),
    ],
    ids=["first epoch", "first log", "second log", "first checkpoint", "second checkpoint", "weights", "results"],
)
def test_a_killed_run_goes_on_to_the_same_end(
    unbroken: Result,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    name: str,
    kill: object,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(where, name, kill)
        with pytest.raises(Killed):
            train(SPEC, FORWARD, tmp_path, data)
    resumed = train(SPEC, FORWARD, tmp_path, data, resume=tmp_path)
    assert losses(tmp_path) == losses(unbroken.run_folder)
    assert (resumed.epoch, resumed.test_loss) == (unbroken.epoch, unbroken.test_loss)
    assert resumed.weights.is_file()


def test_a_run_that_was_killed_while_its_data_were_made_goes_on(
    unbroken: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Part, "write", killed)
        with pytest.raises(Killed):
            train(SPEC, FORWARD, tmp_path)
    resumed = train(SPEC, FORWARD, tmp_path, resume=tmp_path)
    assert resumed.test_loss == unbroken.test_loss


def test_ctrl_c_while_the_data_are_made_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Part, "write", press)
    with pytest.raises(GenerationInterrupted, match=r"0 of 2 parts .*; resume .* to go on with the training") as caught:
        train(SPEC, FORWARD, tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_run_that_was_killed_before_its_first_checkpoint_keeps_its_warm_start(
    unbroken: Result, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPEC.model_copy(update={"epochs": 1, "learning_rate": 1e-12})
    with monkeypatch.context() as patch:
        patch.setattr(Regression, "on_train_epoch_start", killed_in_epoch(1))
        with pytest.raises(Killed):
            train(spec, FORWARD, tmp_path, data, warm_start=unbroken.weights)
    resumed = train(spec, FORWARD, tmp_path, data, resume=tmp_path)
    assert resumed.test_loss == pytest.approx(unbroken.test_loss, rel=1e-4)


def test_a_finished_run_has_nothing_left_to_do(unbroken: Result, data: Path) -> None:
    with pytest.raises(ValueError, match="nothing left to train"):
        train(SPEC, FORWARD, unbroken.run_folder, data, resume=unbroken.run_folder)


def test_an_empty_folder_cannot_be_resumed(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is nothing to resume"):
        train(SPEC, FORWARD, tmp_path, data, resume=tmp_path)


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)
    monkeypatch.setattr(Path, "write_bytes", killed_while_writing(1))
    with pytest.raises(Killed):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_what_a_killed_run_left_half_written_is_cleared(unbroken: Result, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(unbroken.run_folder, folder)
    for name in (".weights.tmp-abcd_123.safetensors", "checkpoints/.last.tmp-abcd_123.ckpt"):
        (folder / name).touch()
    longer = SPEC.model_copy(update={"epochs": 4})
    train(longer, FORWARD, folder, data, resume=folder)
    assert leftovers(folder) + leftovers(folder / "checkpoints") == []


def test_a_torn_line_of_the_log_is_forgotten(data: Path, tmp_path: Path) -> None:
    train(SPEC.model_copy(update={"epochs": 1}), FORWARD, tmp_path, data)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"epoch": 2, "train')
    train(SPEC.model_copy(update={"epochs": 2}), FORWARD, tmp_path, data, resume=tmp_path)
    assert [epoch for epoch, *_ in losses(tmp_path)] == [1, 2]
