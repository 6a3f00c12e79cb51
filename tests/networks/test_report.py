"""The report's network."""

import pytest
import torch

from stedalign.imaging.sections import normalize
from stedalign.networks.network import Network
from stedalign.networks.registry import build, set_input_statistics
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()


def pictures() -> torch.Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_multinet11_has_the_reports_number_of_weights() -> None:
    module = build("multinet11", outputs=11, samples=64)
    assert sum(weight.numel() for weight in module.parameters()) == 2_486_379


def test_dropout_is_off_at_inference_whatever_mode_the_module_is_in() -> None:
    network = Network(build("multinet11", 11, 16), MODES)
    network.module.train()
    assert torch.equal(network.predict(pictures()), network.predict(pictures()))


def test_dropout_is_on_in_training() -> None:
    module = build("multinet11", 11, 16).train()
    assert not torch.equal(module(pictures()), module(pictures()))


def test_predictions_are_rms_waves_of_the_normalized_picture() -> None:
    network = Network(build("multinet11", 11, 16), MODES)
    with torch.no_grad():
        peak_waves = network.module(normalize(pictures()))
    expected = peak_waves / torch.tensor(MODES.norms).float()
    torch.testing.assert_close(network.predict(pictures()), expected)


def test_scale_and_background_of_a_picture_do_not_matter() -> None:
    network = Network(build("multinet11", 11, 16), MODES)
    torch.testing.assert_close(network.predict(pictures() * 500 + 30), network.predict(pictures()))


def test_input_statistics_are_saved_with_the_weights() -> None:
    module = build("multinet11", 11, 16)
    set_input_statistics(module, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    assert module.state_dict()["std"].flatten().tolist() == [4, 5, 6]


def test_sections_that_cannot_be_halved_three_times_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        build("multinet11", 11, 20)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="known: multinet11"):
        build("multinet12", 11, 16)
