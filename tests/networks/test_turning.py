"""Quarter turns: of a real focus, and of what the network says about it."""

import pytest
import torch

from stedalign.imaging.detector import Bead
from stedalign.imaging.forward import ForwardModel, ForwardSpec
from stedalign.imaging.sections import Sampling, normalize
from stedalign.networks.band_net import BandNet
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import NETWORKS, build
from stedalign.networks.turning import TurningLinear, looks_the_same_turned, turned_outputs
from stedalign.optics.beam import Beam, Polarization
from stedalign.optics.patterns import Pattern
from stedalign.optics.wavefront import ModeSet

OUTPUTS = NETWORKS["bandnet"].outputs
# A point for a bead: its coherent modes are most of the planning.
FORWARD = ForwardSpec(bead=Bead(diameter_nm=0), sampling=Sampling(samples=32, pixel_nm=(62.5, 62.5, 62.5)))


@pytest.fixture(scope="module")
def turned() -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of some foci, and of the same with labels that ``turned_outputs`` has turned."""
    assert OUTPUTS.modes is not None
    free = {"mask_offset_x": 0.1, "mask_offset_y": 0.1}
    model = ForwardModel(FORWARD, OUTPUTS.modes, free=free, tolerance=1e-5, strength_waves=0.1)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(3, OUTPUTS.labels, generator=generator) * OUTPUTS.typical / 2
    both = torch.stack([labels, labels @ turned_outputs(OUTPUTS).T]).flatten(0, 1)
    told = OUTPUTS.read(both)
    assert told.waves is not None
    assert told.shift_nm is not None
    assert told.mask_offset is not None
    pictures = model.intensity(torch.cat([told.waves, told.shift_nm, told.mask_offset], dim=1))
    return pictures[:3], pictures[3:]


def test_turned_labels_are_those_of_the_turned_focus(turned: tuple[torch.Tensor, torch.Tensor]) -> None:
    before, after = turned
    assert torch.allclose(after[:, 0], before[:, 0].flip(1).mT, atol=1e-4)
    assert torch.allclose(after[:, 1], before[:, 2].flip(2), atol=1e-4)
    assert torch.allclose(after[:, 2], before[:, 1], atol=1e-4)


def test_the_network_turns_its_answer_with_the_picture(turned: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    module = build("bandnet", OUTPUTS, FORWARD)
    assert isinstance(module, BandNet)
    assert module.turns == 4
    for block in module.blocks:
        torch.nn.init.ones_(block.gain)
    module.set_input_statistics(torch.tensor([0.5, 0.6, 0.7]), torch.tensor([0.8, 0.9, 1.1]))
    one, other = (module(normalize(pictures)) for pictures in turned)
    turn = turned_outputs(OUTPUTS)
    scale = OUTPUTS.values(one).abs().max(0).values
    expected = OUTPUTS.values(one) @ turn.T
    assert ((OUTPUTS.values(other) - expected).abs() / (scale @ turn.abs().T)).max() < 1e-3
    assert torch.allclose(OUTPUTS.log_variances(other), OUTPUTS.log_variances(one) @ turn.abs().T, atol=1e-3)


def test_four_turns_are_none() -> None:
    assert torch.equal(torch.linalg.matrix_power(turned_outputs(OUTPUTS), 4), torch.eye(OUTPUTS.labels))


def test_a_layer_turns_with_its_input() -> None:
    layer = TurningLinear(5, 7)
    rows = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(layer(rows.roll(1, dims=1)), layer(rows).roll(1, dims=1), atol=1e-6)


@pytest.mark.parametrize(
    "beam",
    [
        Beam(pattern=Pattern(mask_offset=(0.1, 0.0))),
        Beam(pattern=Pattern(kind="half_moon")),
        Beam(polarization=Polarization(ellipticity_deg=0)),
        Beam(fill=1.2, fill_center=(0.1, 0.0)),
    ],
)
def test_instruments_that_turning_changes_are_known(beam: Beam) -> None:
    forward = FORWARD.model_copy(update={"beam": beam})
    assert not looks_the_same_turned(forward, OUTPUTS.modes)
    assert build("bandnet", OUTPUTS, forward).turns == 1
    assert not looks_the_same_turned(FORWARD, ModeSet.of([(2, 2)]))
    assert looks_the_same_turned(FORWARD, OUTPUTS.modes)


def test_modes_without_their_partners_can_be_predicted() -> None:
    outputs = Outputs(ModeSet.of([(2, 2), (4, 0)]), mask_offset=True)
    assert build("bandnet", outputs, FORWARD)(torch.rand(1, 3, 32, 32)).shape == (1, len(outputs))


def test_outputs_without_modes_turn_too() -> None:
    assert torch.equal(turned_outputs(Outputs(None, mask_offset=True)), torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
