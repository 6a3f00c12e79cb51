"""A network of the user's own, from a recipe in TOML to estimates, on the command line alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Outcome, Run, run_in
from linear_network import NETWORK, Linear
from small_optics import SETUP

from stedalign.config import Setup
from stedalign.networks.checkpoint import load_network

RECIPE = """\
network = "{name}"
epochs = 1
batch_size = 8
[dataset]
samples = 24
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "setup.toml").write_text(SETUP)
    (folder / "mine.toml").write_text(RECIPE.format(name="linear_network:NETWORK"))
    return folder


@pytest.fixture(scope="module")
def trained(desk: Path) -> Outcome:
    return run_in(desk, "train", "mine.toml", "--setup", "setup.toml", "--out", "run", "--json")


def test_it_is_trained_for_the_modes_that_it_names(desk: Path, trained: Outcome) -> None:
    assert (trained.code, trained.err) == (0, "")
    network = load_network(desk / trained.json["weights"], Setup.load(desk / "setup.toml").forward, None)
    assert isinstance(network.module, Linear)
    assert network.outputs.modes == NETWORK.outputs.modes
    assert 0 < trained.json["test_error_waves"] < 0.5


def test_it_is_judged_beside_the_bound(desk: Path, trained: Outcome) -> None:
    options = "--setup", "setup.toml", "--fit", 0, "--mismatch", 0, "--out", "judged"
    outcome = run_in(desk, "evaluate", "--weights", trained.json["weights"], *options)
    assert (outcome.code, outcome.err) == (0, "")
    judged = json.loads((desk / "judged/evaluation.json").read_text())
    assert judged["modes"] == [[2, 2], [2, -2]]
    assert list(judged["estimators"]) == ["network"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("perceptron", ('there is no network "perceptron"', "package.module:NAME")),
        ("nowhere:NETWORK", ('the network "nowhere:NETWORK" cannot be loaded', "No module named")),
        ("linear_network:Missing", ("cannot be loaded", "has no attribute 'Missing'")),
        ("linear_network:Linear", ('the network "linear_network:Linear" is no', "Architecture")),
    ],
)
def test_a_network_that_cannot_be_had_is_refused(run: Run, tmp_path: Path, name: str, words: tuple[str, ...]) -> None:
    (tmp_path / "mine.toml").write_text(RECIPE.format(name=name))
    run("train", "mine.toml", "--out", "run").assert_refused(*words)
