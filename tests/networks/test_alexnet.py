"""The origin's networks."""

import pytest
import torch

from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES, Sampling, normalize
from stedalign.networks.alexnet import STEM_LAYERS
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import NETWORKS, build
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()


def forward(samples: int) -> ForwardSpec:
    return ForwardSpec(sampling=Sampling(samples=samples))


def images() -> torch.Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("net12", 2_485_292),
        ("multinet12", 2_486_892),
        ("multioffsetnet14", 2_487_918),
        ("net11", 2_484_779),
        ("offsetnet13", 2_485_805),
        ("multinet11", 2_486_379),
        ("multioffsetnet13", 2_487_405),
        ("offsetnet2", 2_480_162),
        ("multinetcat11", 2_521_643),
    ],
)
def test_each_network_has_the_reports_number_of_weights(name: str, weights: int) -> None:
    outputs = NETWORKS[name].outputs
    assert name.endswith(str(len(outputs)))
    assert sum(weight.numel() for weight in build(name, outputs, forward(64)).parameters()) == weights


@pytest.mark.parametrize("name", [name for name, entry in NETWORKS.items() if entry.planes])
def test_dropout_is_off_at_inference_whatever_mode_the_module_is_in(name: str) -> None:
    outputs = NETWORKS[name].outputs
    network = Network(build(name, outputs, forward(16)), outputs)
    network.module.train()
    first, again = network.predict_all(images()), network.predict_all(images())
    for one, other in ((first.waves, again.waves), (first.mask_offset, again.mask_offset)):
        assert (one is None and other is None) or torch.equal(one, other)


@pytest.mark.parametrize("name", [name for name, entry in NETWORKS.items() if entry.planes])
def test_a_network_sees_its_own_sections_and_no_others(name: str) -> None:
    module = build(name, NETWORKS[name].outputs, forward(16)).eval()
    for channel, plane in enumerate(PLANES):
        changed = images()
        changed[:, channel] *= 1 + torch.arange(16) / 16
        same = torch.allclose(module(normalize(changed)), module(normalize(images())), atol=1e-6, rtol=0)
        assert same == (plane not in module.planes)


def test_sections_that_stay_apart_share_their_first_layers() -> None:
    """The same image three times gives the same maps three times, before they are joined."""
    module = build("multinetcat11", Outputs(MODES), forward(16)).eval()
    seen = []
    module.features[STEM_LAYERS].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    module(images()[:, :1].expand(-1, 3, -1, -1))
    first, second, third = seen[0].unflatten(1, (3, 32)).unbind(1)
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_dropout_is_on_in_training() -> None:
    module = build("multinet11", Outputs(MODES), forward(16)).train()
    assert not torch.equal(module(images()), module(images()))


def test_predictions_are_rms_waves_of_the_normalized_image() -> None:
    network = Network(build("multinet11", Outputs(MODES), forward(16)), Outputs(MODES))
    with torch.no_grad():
        peak_waves = network.module(normalize(images()))
    expected = peak_waves / torch.tensor(MODES.norms).float()
    torch.testing.assert_close(network.predict(images()), expected)


def test_scale_and_background_of_an_image_do_not_matter() -> None:
    network = Network(build("multinet11", Outputs(MODES), forward(16)), Outputs(MODES))
    torch.testing.assert_close(network.predict(images() * 500 + 30), network.predict(images()))


def test_input_statistics_are_saved_with_the_weights() -> None:
    module = build("multinet11", Outputs(MODES), forward(16))
    module.set_input_statistics(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    assert module.state_dict()["std"].flatten().tolist() == [4, 5, 6]


def test_sections_that_cannot_be_halved_three_times_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        build("multinet11", Outputs(MODES), forward(20))


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="known: net12, multinet12, multioffsetnet14, net11, "):
        build("resnet", Outputs(MODES), forward(16))
