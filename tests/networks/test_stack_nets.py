"""Networks that see a z-stack."""

import pytest
import torch

from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.networks.network import Network
from stedalign.networks.registry import NETWORKS, build

FORWARD = ForwardSpec(sampling=Sampling(samples=32))
NAMES = [name for name, entry in NETWORKS.items() if not entry.planes]


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_becomes_all_outputs(name: str) -> None:
    outputs = NETWORKS[name].outputs
    module = build(name, outputs, FORWARD)
    stacks = torch.poisson(torch.full((2, module.stack, 16, 16), 20.0), torch.Generator().manual_seed(0))
    found = Network(module, outputs).predict_all(stacks)
    assert found.waves.shape == found.sigma.waves.shape == (2, 11)
    assert found.mask_offset.shape == (2, 2)
    assert found.shift_nm.shape == (2, 3)
    assert (found.sigma.waves > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_each_plane_matters(name: str) -> None:
    torch.manual_seed(0)
    module = build(name, NETWORKS[name].outputs, FORWARD).eval()
    stacks = torch.rand(1, module.stack, 16, 16, requires_grad=True)
    module(stacks).sum().backward()
    assert (stacks.grad.abs().amax((0, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_samples_that_do_not_halve_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no multiple of 16"):
        build(name, NETWORKS[name].outputs, ForwardSpec(sampling=Sampling(samples=24)))


@pytest.mark.parametrize("name", NAMES)
def test_sections_are_no_stack(name: str) -> None:
    outputs = NETWORKS[name].outputs
    with pytest.raises(ValueError, match="sees z-stacks of 16 planes, and is shown images of 3"):
        Network(build(name, outputs, FORWARD), outputs).predict(torch.rand(1, 3, 32, 32))
