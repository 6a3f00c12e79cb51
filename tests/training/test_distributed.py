"""Training in several processes: the same network as in one, told and written by the first alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from small_optics import FORWARD, SETUP
from torch import nn

from stedalign.dataset.generate import generate
from stedalign.dataset.spec import DatasetSpec
from stedalign.networks.checkpoint import load_network
from stedalign.training.launch import Processes, together
from stedalign.training.module import loss
from stedalign.training.run import Result, train
from stedalign.training.seeds import Stream, stream_seed
from stedalign.training.simulated_batches import SimulatedBatches, SimulatedImages
from stedalign.training.spec import SimulationSpec, TrainSpec
from stedalign.training.worker_processes import workers

# 52 images to train in batches of 8, the last of which has 4; 7 to validate, an odd number.
DATA = DatasetSpec(samples=66, modes=((2, 2), (3, 1)))
SPEC = TrainSpec(epochs=2, batch_size=8, seed=1, dataset=DATA)
IN_TURN = """
import os
from contextlib import suppress
for port, job in jobs:
    os.environ["MASTER_PORT"] = port
    with suppress(SystemExit):
        job()
"""
STILL = dict.fromkeys(
    ("drift_nm", "mask_offset", "taper", "fill_center", "ellipticity_deg", "blur_nm", "pixel_error", "z_scale"), 0
)
# One step, too short to change the network; 9 images to validate, in batches of 4 and 5.
ENDLESS = TrainSpec(
    epochs=1,
    batch_size=8,
    learning_rate=1e-12,
    seed=1,
    simulation=SimulationSpec(epoch=8, shown=1, pool=8, validation=9, test=4, modes=((2, 2), (3, 1)), **STILL),
)
REFUSED = {
    "uneven": (SPEC.model_copy(update={"batch_size": 9}), "2 processes cannot share batches of 9 evenly"),
    "few": (TrainSpec(dataset=DatasetSpec(samples=10)), "there are too few images to train or validate with"),
    # Batches of 1 and 2 images.
    "empty": (
        ENDLESS.model_copy(update={"batch_size": 2, "simulation": SimulationSpec(validation=3, modes=((2, 2),))}),
        "there are too few images to train or validate with for 2 processes",
    ),
}
RECIPE = "epochs = 1000\nbatch_size = 8\n[dataset]\nsamples = 64\nmodes = [[2, 2]]\n"
SECONDS = 240


@pytest.fixture(scope="module", autouse=True)
def _without_dropout() -> Iterator[None]:
    """Each process draws its own dropout; without it, only rounding is left to differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn, "Dropout", lambda _: nn.Identity())
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(DATA, FORWARD, tmp_path_factory.mktemp("data") / "data.h5")


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return train(SPEC, FORWARD, tmp_path_factory.mktemp("alone"), data)


def curves(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines for name in ("epoch", "train_loss", "val_loss", "val_error_milliwaves")]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.fixture(scope="module")
def in_two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result | ValueError]:
    """What some trainings in two processes gave. These are started once, as torchrun does: that takes longest."""
    begun, folder = tmp_path_factory.mktemp("begun"), tmp_path_factory.mktemp("two")
    train(SPEC.model_copy(update={"epochs": 1}), FORWARD, begun, data)
    two = {"devices": 2}
    trainings = {
        **{name: partial(train, spec, FORWARD, folder / "refused", **two) for name, (spec, _) in REFUSED.items()},
        "whole": partial(train, SPEC, FORWARD, folder / "whole", data, **two),
        "resumed": partial(train, SPEC, FORWARD, begun, data, resume=begun, **two),
        "endless": partial(train, ENDLESS, FORWARD, folder / "endless", **two),
    }
    ports = [free_port() for _ in trainings]
    variables = {"MASTER_ADDR": "127.0.0.1", "NODE_RANK": "0", "WORLD_SIZE": "2"}
    jobs = list(zip(ports, trainings.values(), strict=True))
    found: dict[str, Result | ValueError] = {}
    with workers(partial(exec, IN_TURN, {"jobs": jobs}), variables, 2):
        for (name, training), port in zip(trainings.items(), ports, strict=True):
            os.environ["MASTER_PORT"] = port
            try:
                found[name] = training()
            except ValueError as error:
                found[name] = error
    return found


def test_two_processes_train_the_network_of_one(alone: Result, in_two: dict[str, Result]) -> None:
    result = in_two["whole"]
    assert curves(result.run_folder) == pytest.approx(curves(alone.run_folder), rel=1e-5)
    assert result.test_loss == pytest.approx(alone.test_loss, rel=1e-5)
    ours, theirs = (
        torch.load(each.run_folder / "checkpoints/last.ckpt", weights_only=True) for each in (result, alone)
    )
    for name, weights in ours["state_dict"].items():
        torch.testing.assert_close(weights, theirs["state_dict"][name], rtol=1e-4, atol=1e-5)


def test_two_processes_go_on_where_one_stopped(alone: Result, in_two: dict[str, Result]) -> None:
    assert curves(in_two["resumed"].run_folder) == pytest.approx(curves(alone.run_folder), rel=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_first_process_refuses_ends_the_training_of_all(
    in_two: dict[str, Result | ValueError], name: str
) -> None:
    """The other one goes on to the next training, the last of which come to their ends."""
    words = REFUSED[name][1]
    assert str(in_two[name]).startswith(words)
    last = in_two["whole"]
    assert isinstance(last, Result)
    assert not (last.run_folder.parent / "refused").exists()


def test_of_endless_images_each_process_draws_its_own_and_validates_its_share(
    in_two: dict[str, Result], tmp_path: Path
) -> None:
    alone, two = train(ENDLESS, FORWARD, tmp_path), in_two["endless"]
    assert two.validation_loss == pytest.approx(alone.validation_loss, rel=1e-5)
    assert two.test_loss == pytest.approx(alone.test_loss, rel=1e-5)

    assert ENDLESS.simulation is not None
    source = SimulatedImages(ENDLESS.simulation, FORWARD, ENDLESS.outputs, binning=1)
    network = load_network(two.weights, FORWARD, None).module
    seed = stream_seed(ENDLESS.seed, Stream.TRAINING)
    shares = [next(iter(SimulatedBatches(source, ENDLESS.batch_size, seed + rank, world=2))) for rank in range(2)]
    assert [len(labels) for _, labels in shares] == [4, 4]
    with torch.no_grad():
        losses = [float(loss(network(images), labels, ENDLESS.outputs)) for images, labels in shares]
    assert abs(losses[0] - losses[1]) > 0.01 * losses[0]
    logged = json.loads((two.run_folder / "log.jsonl").read_text())["train_loss"]
    assert logged == pytest.approx(sum(losses) / 2, rel=1e-4)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "setup.toml").write_text(SETUP)
    (tmp_path / "train.toml").write_text(RECIPE)
    return tmp_path


def start(desk: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    # A shell starts background jobs with SIGINT ignored; the handler undoes that.
    program = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from stedalign.cli.main import main
main()
"""
    command = [sys.executable, "-c", program, "train", "train.toml", "--setup", "setup.toml", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=desk, env=os.environ | variables, text=True, **pipes)


def test_of_two_nodes_the_first_alone_makes_the_data_writes_and_tells(desk: Path) -> None:
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    arguments = ("--nodes", "2", "--epochs", "1", "--json")
    # The second one names another folder, in which nothing must come to lie.
    nodes = [
        start(desk, *arguments, "--out", name, **variables, NODE_RANK=rank)
        for rank, name in (("0", "run"), ("1", "no"))
    ]
    outputs = [node.communicate(timeout=SECONDS) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0]
    assert [err for _, err in outputs] == ["", ""]
    assert json.loads(outputs[0][0])["run_folder"] == "run"
    assert outputs[1][0] == ""
    assert {path.name for path in desk.iterdir()} == {"run", "setup.toml", "train.toml"}
    assert {"dataset.h5", "log.jsonl", "results.json", "weights.safetensors"} <= {
        path.name for path in (desk / "run").iterdir()
    }
    assert len(list((desk / "run/tensorboard").glob("events.*"))) == 1
    assert len((desk / "run/log.jsonl").read_text().splitlines()) == 1


def test_ctrl_c_ends_all_processes_and_tells_in_one_line_what_is_kept(desk: Path) -> None:
    with start(desk, "--devices", "2", "--out", "run", "--json") as process:
        deadline = time.monotonic() + SECONDS
        while not (desk / "run/checkpoints/last.ckpt").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        # The pipes are closed when the last process that holds them has ended.
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("stedalign: stopped: ")
    assert err.endswith("of 1000 epochs are kept; resume run to go on\n")
    assert err.count("\n") == 1


def test_one_process_meets_nobody() -> None:
    with together(1, 1, int) as processes:
        assert processes == Processes()
        assert processes.first(lambda: 3) == 3
        processes.leave_to_first()


def test_the_others_leave_to_the_first() -> None:
    with pytest.raises(SystemExit):
        Processes(devices=2, rank=1).leave_to_first()


@pytest.mark.parametrize(("gpus", "count"), [(0, 1), (1, 1)])
def test_auto_takes_all_gpus_or_the_cpu(monkeypatch: pytest.MonkeyPatch, gpus: int, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with together("auto", 1, int) as processes:
        assert processes.world == count


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="4 devices were asked for, and there are 2 GPUs"), together(4, 1, int):
        pass


def test_one_of_several_started_processes_does_not_train_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(ValueError, match="this is one of 4 processes, not of 1 on each of 1 nodes"),
        together(1, 1, int),
    ):
        pass
