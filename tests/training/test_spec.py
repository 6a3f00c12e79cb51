"""Reading training runs from TOML."""

from pathlib import Path

import pytest

from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.jobs.estimate import DEFAULT_NETWORK
from stedalign.networks import registry
from stedalign.networks.checkpoint import load_network, packaged_weights
from stedalign.networks.outputs import Outputs
from stedalign.optics.wavefront import ModeSet
from stedalign.optics.zernike import Mode
from stedalign.training.record import check_record, run_record
from stedalign.training.spec import SimulationSpec, TrainSpec, load_train_spec

CONFIGS = Path(__file__).parents[2] / "configs"


ORIGIN = sorted((CONFIGS / "origin").glob("*.toml"))


def test_each_network_of_the_origin_has_its_recipe() -> None:
    assert {path.stem for path in ORIGIN} == set(registry.ORIGIN)


@pytest.mark.parametrize("path", ORIGIN, ids=lambda path: path.stem)
def test_the_origins_recipe_is_what_the_origin_says(path: Path) -> None:
    spec = load_train_spec(path)
    offset_alone = path.stem == "offsetnet2"
    assert spec.network == path.stem
    assert (spec.epochs, spec.batch_size, spec.learning_rate, spec.step_epochs) == (15, 64, 1e-3, 0)
    assert (spec.noise.photons, spec.noise.background) == (350, 2)
    assert spec.dataset.counts == ((1600, 200, 200) if offset_alone else (16_000, 2000, 2000))
    assert (spec.dataset.distribution, spec.dataset.range_peak_waves) == ("uniform", 0 if offset_alone else 0.2)


@pytest.mark.parametrize("path", ORIGIN, ids=lambda path: path.stem)
def test_a_recipe_draws_what_its_network_predicts(path: Path) -> None:
    spec = load_train_spec(path)
    assert spec.outputs == registry.NETWORKS[path.stem].outputs
    assert bool(spec.dataset.mask_offset) == spec.outputs.mask_offset
    # Centering along z would take the defocus away that is to be predicted.
    assert spec.dataset.centered == (Mode(2, 0) not in spec.dataset.mode_set)


def test_the_recipe_of_the_packaged_network_is_that_of_its_weights() -> None:
    recorded = load_network(packaged_weights(DEFAULT_NETWORK), ForwardSpec(), ModeSet.default()).training["train_spec"]
    assert TrainSpec.parse(recorded) == load_train_spec(CONFIGS / "default_mirrored.toml")


def test_z_stacks_do_not_drift_unless_that_is_asked_for() -> None:
    volumes, sections = (TrainSpec.parse({"network": name, "simulation": {}}) for name in ("volumenet", "bandnet"))
    assert volumes.simulation == SimulationSpec(drift_nm=0)
    assert sections.simulation == SimulationSpec()


def test_a_run_of_z_stacks_from_before_their_drift_was_refused_goes_on() -> None:
    spec, forward = TrainSpec.parse({"network": "volumenet", "simulation": {}}), ForwardSpec()
    recorded = run_record(spec, forward)
    recorded["train_spec"]["simulation"]["drift_nm"] = 10.0
    check_record(recorded, spec, forward, "this is")
    with pytest.raises(ValueError, match=r"this is another configuration .*seed"):
        check_record(recorded, spec.model_copy(update={"seed": 7}), forward, "this is")


def test_other_modes_than_the_networks_own_can_be_asked_for() -> None:
    spec = TrainSpec.parse({"network": "multioffsetnet14", "dataset": {"modes": [[2, 2]], "mask_offset": 0.1}})
    assert spec.outputs == Outputs(ModeSet.of([(2, 2)]), mask_offset=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat = 1e-3", "learning_rate"),
        ("[dataset]\nsampels = 3", "samples"),
        ("[noise]\nphoton = 3", "photons"),
        ("epochs = 0", "epochs"),
        ('network = "resnet"', "known: net12, multinet12"),
        ('network = "net12"\ndataset = 3', "dataset"),
        ('network = "offsetnet13"', "predicts the mask offset: give its range as mask_offset in .dataset."),
        ("dataset.range_peak_waves = 0", "multinet11 predicts modes, which a range_peak_waves of 0"),
        ("epochs = ", "cannot be read"),
        ("cosine = true\nstep_epochs = 5", "either cosine or step_epochs"),
        ("[simulation]\n[dataset]", "with .simulation. there is no .dataset."),
        ("[simulation]\nphotons = [300, 30]", "photons 300 to 30 is no range"),
        ('network = "bandnet"', "predicts shifts, which datasets do not tell"),
        ('network = "volumenet"\n[simulation]\ndrift_nm = 10', "volumenet sees a z-stack, .* set drift_nm = 0"),
        ('network = "bandnet"\n[simulation]\nmask_offset = 0', "give its range in .simulation."),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_train_spec(path)
    assert "\n" not in str(caught.value)
