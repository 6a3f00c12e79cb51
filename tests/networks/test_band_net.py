"""Our own network: what it sees and how it is kept."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling, normalize
from stedalign.networks.band_net import BandNet
from stedalign.networks.checkpoint import WeightsRecord, load_network, save_network
from stedalign.networks.network import Network
from stedalign.networks.registry import NETWORKS, build

OUTPUTS = NETWORKS["bandnet"].outputs
FORWARD = ForwardSpec()


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(build("bandnet", OUTPUTS, FORWARD), OUTPUTS)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    blobs = functional.interpolate(torch.rand(4, 3, 8, 8, generator=generator), size=64, mode="bicubic")
    return torch.poisson(100 * blobs.clamp_min(0.01), generator)


def test_pixels_may_come_added_up(network: Network, images: torch.Tensor) -> None:
    assert network.module.binning == 2
    whole, binned = network.predict(images), network.predict(4 * functional.avg_pool2d(images, 2))
    assert torch.allclose(whole, binned, atol=1e-5)


def test_light_and_background_do_not_change_what_is_seen(network: Network, images: torch.Tensor) -> None:
    assert torch.allclose(network.predict(images), network.predict(3 * images + 50), atol=1e-5)


def test_detail_beyond_the_band_is_noise(network: Network, images: torch.Tensor) -> None:
    wave = torch.cos(torch.pi * 31 / 32 * (torch.arange(32) + 0.5))
    finest = wave[:, None] * wave
    module = network.module
    sections = module.standardized(normalize(functional.avg_pool2d(images, 2)))
    smooth, rough = (module._coefficients(sections + change * finest) for change in (0.0, 0.5))
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(smooth[0], rough[0], strict=True))
    assert all((other > one).all() for one, other in zip(smooth[1], rough[1], strict=True))


def test_all_outputs_have_their_sigma(network: Network, images: torch.Tensor) -> None:
    found = network.predict_all(images)
    for value, sigma in (
        (found.waves, found.sigma.waves),
        (found.mask_offset, found.sigma.mask_offset),
        (found.shift_nm, found.sigma.shift_nm),
    ):
        assert value.shape == sigma.shape
        assert (sigma > 0).all()


def test_pixels_are_added_up_as_far_as_the_band_allows() -> None:
    for pixel_nm, binning in ((31.25, 2), (15.0, 4), (60.0, 1)):
        sampling = Sampling(samples=64, pixel_nm=(pixel_nm,) * 3)
        assert BandNet(("xy",), OUTPUTS, ForwardSpec(sampling=sampling), width=8, depth=1).binning == binning


def test_weights_of_half_the_size_predict_the_same(network: Network, images: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    for block in network.module.blocks:
        # As a trained one; before, its blocks add nothing.
        torch.nn.init.constant_(block.gain, 0.3)
    save_network(path, network.module, WeightsRecord("bandnet", FORWARD, OUTPUTS))
    loaded = load_network(path, FORWARD, OUTPUTS.modes)
    assert path.stat().st_size < 10e6
    assert loaded.outputs == OUTPUTS
    assert torch.allclose(loaded.predict(images), network.predict(images), atol=2e-4)
