"""Weights on disk: what is kept, and what is refused."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stedalign.imaging.forward_spec import ForwardSpec, optics_disagreement
from stedalign.imaging.images import Sampling
from stedalign.jobs.estimate import DEFAULT_NETWORK
from stedalign.networks.checkpoint import CheckpointError, WeightsRecord, load_network, packaged_weights, save_network
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import NETWORKS, build
from stedalign.optics.beam import Beam, Overlay
from stedalign.optics.objective import Objective
from stedalign.optics.wavefront import ModeSet

SAMPLING = Sampling(samples=16, pixel_nm=(110.0, 110.0, 110.0))
FORWARD, MODES = ForwardSpec(sampling=SAMPLING), ModeSet.default()


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    module = build("multinet11", Outputs(MODES), FORWARD)
    path = tmp_path / "weights.safetensors"
    save_network(path, module, WeightsRecord("multinet11", FORWARD, Outputs(MODES), {"seed": 3, "epoch": 2}))
    return path, module


def refusal(path: Path, forward: ForwardSpec = FORWARD, modes: ModeSet = MODES) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_network(path, forward, modes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_loaded_network_predicts_as_the_saved_one(saved: tuple[Path, torch.nn.Module]) -> None:
    path, module = saved
    images = torch.rand(2, 3, 16, 16)
    loaded = load_network(path, FORWARD, MODES)
    assert torch.equal(loaded.predict(images), Network(module, Outputs(MODES)).predict(images))
    assert loaded.training == {"seed": 3, "epoch": 2}


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_know_what_their_outputs_are(tmp_path: Path, name: str) -> None:
    outputs = NETWORKS[name].outputs
    save_network(tmp_path / "weights.safetensors", build(name, outputs, FORWARD), WeightsRecord(name, FORWARD, outputs))
    loaded = load_network(tmp_path / "weights.safetensors", FORWARD, modes=None)
    assert loaded.outputs == outputs
    found = loaded.predict_all(torch.rand(2, loaded.module.stack or 3, 16, 16))
    assert (found.waves is None) == (outputs.modes is None)
    assert (found.mask_offset is None) == (not outputs.mask_offset)


def test_weights_for_the_mask_offset_alone_give_no_modes(tmp_path: Path) -> None:
    outputs, path = Outputs(None, mask_offset=True), tmp_path / "weights.safetensors"
    save_network(path, build("offsetnet2", outputs, FORWARD), WeightsRecord("offsetnet2", FORWARD, outputs))
    assert refusal(path) == f"weights were trained for the mask offset alone, this setup asks for the modes {MODES}"


class OldRecord(WeightsRecord):
    """As files were before networks predicted anything but modes."""

    def metadata(self) -> dict[str, str]:
        found = super().metadata()
        return {name: value for name, value in found.items() if name not in ("mask_offset", "shift", "sigma")}


def test_weights_from_before_the_mask_offset_still_load(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(path, build("multinet11", Outputs(MODES), FORWARD), OldRecord("multinet11", FORWARD, Outputs(MODES)))
    assert load_network(path, FORWARD, MODES).outputs == Outputs(MODES)


def test_the_packaged_weights_are_small_and_those_of_the_default_setup() -> None:
    path = packaged_weights(DEFAULT_NETWORK)
    assert path.stat().st_size < 10e6
    assert load_network(path, ForwardSpec(), MODES).outputs == NETWORKS[DEFAULT_NETWORK].outputs


def test_another_objective_is_refused_with_both_values(saved: tuple[Path, torch.nn.Module]) -> None:
    other = Objective(na=1.35)
    message = refusal(saved[0], FORWARD.model_copy(update={"objective": other}))
    assert message == "weights were trained for na = 1.4, this setup has na = 1.35"


def test_another_sampling_is_refused_with_both_values(saved: tuple[Path, torch.nn.Module]) -> None:
    message = refusal(saved[0], ForwardSpec(sampling=Sampling(samples=24, pixel_nm=SAMPLING.pixel_nm)))
    assert message == "weights were trained for samples = 16, this setup has samples = 24"


def test_another_mode_set_is_refused_with_both_values(saved: tuple[Path, torch.nn.Module]) -> None:
    message = refusal(saved[0], modes=ModeSet.report12())
    assert str(MODES) in message
    assert str(ModeSet.report12()) in message


def test_an_overlay_that_only_one_side_has_is_told(tmp_path: Path) -> None:
    both = FORWARD.model_copy(update={"beam": Beam(overlay=Overlay())})
    for ours, theirs in ((FORWARD, both), (both, FORWARD)):
        said = optics_disagreement(ours.model_dump(), MODES, theirs, MODES)
        assert "overlay" in str(said)


def test_laser_power_does_not_matter(saved: tuple[Path, torch.nn.Module]) -> None:
    load_network(saved[0], FORWARD.model_copy(update={"beam": Beam(power_w=0.1)}), MODES)


def test_a_truncated_file_is_refused(saved: tuple[Path, torch.nn.Module]) -> None:
    path = saved[0]
    path.write_bytes(path.read_bytes()[:-100])
    assert "no complete safetensors file" in refusal(path)


def test_a_flipped_bit_in_the_weights_is_refused(saved: tuple[Path, torch.nn.Module]) -> None:
    content = bytearray(saved[0].read_bytes())
    content[-10] ^= 1
    saved[0].write_bytes(content)
    assert "checksum" in refusal(saved[0])


def test_edited_metadata_are_refused(saved: tuple[Path, torch.nn.Module], tmp_path: Path) -> None:
    with safe_open(saved[0], "pt") as file:
        metadata = dict(file.metadata())
    training = json.loads(metadata["training"])
    forged = metadata | {"training": json.dumps(training | {"seed": 4})}
    assert forged != metadata
    save_file(load_file(saved[0]), tmp_path / "forged.safetensors", forged)
    assert "checksum" in refusal(tmp_path / "forged.safetensors")


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (tmp_path / "owned",)

    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    assert "no complete safetensors file" in refusal(path)
    assert not (tmp_path / "owned").exists()


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    assert "format" in refusal(tmp_path / "foreign.safetensors")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "there are no weights" in refusal(tmp_path / "none.safetensors")


def test_weights_that_are_not_shipped_are_named() -> None:
    with pytest.raises(CheckpointError, match='no weights for the network "resnet"'):
        packaged_weights("resnet")


def test_the_metadata_can_be_read_by_others(saved: tuple[Path, torch.nn.Module]) -> None:
    metadata = WeightsRecord("multinet11", FORWARD, Outputs(MODES)).metadata()
    assert json.loads(metadata["modes"]) == MODES.pairs
    assert json.loads(metadata["sampling"])["samples"] == 16
    assert (metadata["label_unit"], metadata["mask_offset"]) == ("peak_waves", "false")
    assert metadata["setup_hash"] == FORWARD.hash
