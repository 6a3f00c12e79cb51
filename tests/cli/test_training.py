"""Training from nothing on the command line: each network of the origin, and a real kill."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import Outcome, run_in
from small_optics import SETUP
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stedalign.config import Setup
from stedalign.networks.checkpoint import load_network
from stedalign.networks.registry import ORIGIN

RECIPE = """\
network = "{name}"
epochs = 1
batch_size = 8
[dataset]
samples = 20
range_peak_waves = {strength}
mask_offset = 0.02
"""

ENDLESS = """\
network = "bandnet"
epochs = 1
batch_size = 8
[simulation]
modes = [[2, 2], [2, -2]]
epoch = 16
shown = 1
pool = 8
validation = 8
test = 8
mask_offset = 0.02
taper = 0
fill_center = 0
ellipticity_deg = 0
blur_nm = 0
pixel_error = 0
z_scale = 0
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a setup of small images, in which the datasets of several networks come to lie."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "setup.toml").write_text(SETUP)
    return folder


@pytest.fixture(scope="module")
def trained(desk: Path) -> Callable[[str], Outcome]:
    """Train a network for one epoch; the mask moves in the images of all, so that several can share a dataset."""

    @functools.cache
    def train(name: str) -> Outcome:
        strength = 0.2 if ORIGIN[name].outputs.modes else 0
        (desk / f"{name}.toml").write_text(RECIPE.format(name=name, strength=strength))
        folder = "--out", f"runs/{name}"
        return run_in(
            desk, "train", f"{name}.toml", "--setup", "setup.toml", "--data", data_of(name), *folder, "--json"
        )

    return train


def data_of(name: str) -> str:
    modes = ORIGIN[name].outputs.modes
    return f"{len(modes) if modes else 0}.h5"


@pytest.mark.parametrize("name", ORIGIN)
def test_each_network_of_the_report_is_trained_from_nothing(
    desk: Path, trained: Callable[[str], Outcome], name: str
) -> None:
    outcome = trained(name)
    assert (outcome.code, outcome.err) == (0, "")
    outputs = ORIGIN[name].outputs
    assert (outcome.json["test_error_waves"] is None) == (outputs.modes is None)
    assert (outcome.json["test_error_mask_offset"] is None) == (not outputs.mask_offset)
    assert outcome.json["test_error_shift_nm"] is None
    network = load_network(desk / outcome.json["weights"], Setup.load(desk / "setup.toml").forward, outputs.modes)
    assert network.outputs == outputs
    found = network.predict_all(torch.rand(2, 3, 16, 16))
    assert found.waves is None or found.waves.shape == (2, len(outputs.modes))
    assert found.mask_offset is None or found.mask_offset.shape == (2, 2)

    curves = EventAccumulator(str(desk / f"runs/{name}/tensorboard"))
    curves.Reload()
    expected = {"loss/train", "loss/val_epoch"}
    if outputs.modes:
        expected |= {f"error_milliwaves/{mode.n}_{mode.m}" for mode in outputs.modes} | {"error_milliwaves/total"}
    if outputs.mask_offset:
        expected |= {f"error_pupil_radii/{each}" for each in ("mask_offset_x", "mask_offset_y", "total")}
    assert set(curves.Tags()["scalars"]) == expected | {"epoch"}


@pytest.fixture(scope="module")
def endless(desk: Path) -> Outcome:
    """The network of the package, trained without a dataset."""
    (desk / "endless.toml").write_text(ENDLESS)
    return run_in(desk, "train", "endless.toml", "--setup", "setup.toml", "--out", "runs/endless")


def test_a_network_that_predicts_shifts_tells_their_error(desk: Path, endless: Outcome) -> None:
    assert (endless.code, endless.err) == (0, "")
    results = json.loads((desk / "runs/endless/results.json").read_text())
    # No network that has just begun knows better than the spread of what there is to know.
    assert 10 < results["test_error_shift_nm"] < 200
    assert f"{results['test_error_shift_nm']:.1f} nm of shift" in endless.out


def test_without_a_name_for_the_data_they_lie_in_the_run_folder(desk: Path) -> None:
    (desk / "own.toml").write_text("epochs = 1\n[dataset]\nsamples = 20\nmodes = [[2, 2]]\n")
    outcome = run_in(desk, "train", "own.toml", "--setup", "setup.toml", "--out", "runs/own")
    assert (outcome.code, outcome.err) == (0, "")
    assert "test error" in outcome.out
    assert "runs/own/dataset.h5" in outcome.written


def test_a_run_that_was_really_killed_goes_on_to_the_same_curve(desk: Path) -> None:
    (desk / "long.toml").write_text("epochs = 20\nbatch_size = 8\n[dataset]\nsamples = 20\nmodes = [[2, 2]]\n")
    command = ["train", "long.toml", "--setup", "setup.toml", "--data", "one.h5"]
    whole, broken = desk / "runs/whole", desk / "runs/broken"
    assert run_in(desk, *command, "--out", whole).code == 0
    with subprocess.Popen(
        [sys.executable, "-m", "stedalign", *command, "--out", str(broken)], cwd=desk, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not (broken / "checkpoints/last.ckpt").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert not (broken / "results.json").exists()
    resumed = run_in(desk, *command, "--resume", broken)
    assert (resumed.code, resumed.err) == (0, "")
    assert losses(broken) == losses(whole)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["val_loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
