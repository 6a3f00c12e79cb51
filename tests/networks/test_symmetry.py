"""Quarter turns and the mirror: of a real focus, and of what the network says about it."""

import pytest
import torch

from stedalign.imaging.detector import Bead
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES, Sampling, normalize
from stedalign.networks.band_net import BandNet
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import NETWORKS, build
from stedalign.networks.symmetry import (
    TurningLinear,
    looks_the_same_mirrored,
    looks_the_same_turned,
    mirrored_outputs,
    turned_outputs,
)
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import HalfMoon, TopHat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet

OUTPUTS = NETWORKS["bandnet"].outputs
# A point for a bead: its coherent modes are most of the planning.
FORWARD = ForwardSpec(bead=Bead(diameter_nm=0), sampling=Sampling(samples=32, pixel_nm=(62.5, 62.5, 62.5)))


TURN, MIRROR = turned_outputs(OUTPUTS), mirrored_outputs(OUTPUTS)


@pytest.fixture(scope="module")
def focus() -> ForwardModel:
    assert OUTPUTS.modes is not None
    free = {"mask_offset_x": 0.1, "mask_offset_y": 0.1}
    return ForwardModel(FORWARD, OUTPUTS.modes, free=free, tolerance=1e-5, strength_waves=0.1)


def seen(focus: ForwardModel, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of some foci, and of the same with labels that ``matrix`` has changed."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(3, OUTPUTS.labels, generator=generator) * OUTPUTS.typical / 2
    told = OUTPUTS.read(torch.stack([labels, labels @ matrix.T]).flatten(0, 1))
    assert told.waves is not None
    assert told.shift_nm is not None
    assert told.mask_offset is not None
    images = focus.intensity(torch.cat([told.waves, told.shift_nm, told.mask_offset], dim=1))
    return images[:3], images[3:]


def test_turned_labels_are_those_of_the_turned_focus(focus: ForwardModel) -> None:
    before, after = seen(focus, TURN)
    xy, xz, yz = before.unbind(1)
    assert torch.allclose(after, torch.stack([xy.flip(1).mT, yz.flip(2), xz], dim=1), atol=1e-4)


def test_mirrored_labels_are_those_of_the_mirrored_focus(focus: ForwardModel) -> None:
    before, after = seen(focus, MIRROR)
    xy, xz, yz = before.unbind(1)
    assert torch.allclose(after, torch.stack([xy.flip(1), xz.flip(1), yz.flip(1, 2)], dim=1), atol=1e-4)


@pytest.mark.parametrize(
    ("planes", "matrix"),
    [(PLANES, TURN), (PLANES, MIRROR), (("xy",), MIRROR)],
    ids=["turned", "mirrored", "xy mirrored"],
)
def test_the_network_changes_its_answer_with_the_image(
    focus: ForwardModel, planes: tuple[str, ...], matrix: torch.Tensor
) -> None:
    torch.manual_seed(0)
    module = BandNet(planes, OUTPUTS, FORWARD).eval()
    for block in module.blocks:
        torch.nn.init.ones_(block.gain)
    module.set_input_statistics(
        torch.tensor([0.5, 0.6, 0.7])[: len(planes)], torch.tensor([0.8, 0.9, 1.1])[: len(planes)]
    )
    with torch.no_grad():
        one, other = (module(normalize(images)) for images in seen(focus, matrix))
    scale = OUTPUTS.values(one).abs().max(0).values
    expected = OUTPUTS.values(one) @ matrix.T
    assert ((OUTPUTS.values(other) - expected).abs() / (scale @ matrix.abs().T)).max() < 1e-3
    assert torch.allclose(OUTPUTS.log_variances(other), OUTPUTS.log_variances(one) @ matrix.abs().T, atol=1e-3)


def test_unpolarized_light_looks_the_same_turned_and_mirrored() -> None:
    beam = Beam(polarization=Polarization(kind="unpolarized"))
    forward = FORWARD.model_copy(update={"beam": beam})
    assert looks_the_same_turned(forward, OUTPUTS.modes)
    assert looks_the_same_mirrored(forward)
    assert OUTPUTS.modes is not None
    free = {"mask_offset_x": 0.1, "mask_offset_y": 0.1}
    model = ForwardModel(forward, OUTPUTS.modes, free=free, tolerance=1e-5, strength_waves=0.1)
    before, after = seen(model, TURN)
    xy, xz, yz = before.unbind(1)
    assert torch.allclose(after, torch.stack([xy.flip(1).mT, yz.flip(2), xz], dim=1), atol=1e-4)
    before, after = seen(model, MIRROR)
    xy, xz, yz = before.unbind(1)
    assert torch.allclose(after, torch.stack([xy.flip(1), xz.flip(1), yz.flip(1, 2)], dim=1), atol=1e-4)


def test_four_turns_are_none() -> None:
    assert torch.equal(torch.linalg.matrix_power(turned_outputs(OUTPUTS), 4), torch.eye(OUTPUTS.labels))


def test_a_layer_turns_with_its_input() -> None:
    layer = TurningLinear(5, 7)
    rows = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(layer(rows.roll(1, dims=1)), layer(rows).roll(1, dims=1), atol=1e-6)


@pytest.mark.parametrize(
    "beam",
    [
        Beam(pattern=Vortex(mask_offset=(0.1, 0.0))),
        Beam(pattern=HalfMoon()),
        Beam(polarization=Polarization(ellipticity_deg=0)),
        Beam(fill=1.2, fill_center=(0.1, 0.0)),
    ],
)
def test_instruments_that_are_not_round_are_known(beam: Beam) -> None:
    forward = FORWARD.model_copy(update={"beam": beam})
    assert not looks_the_same_turned(forward, OUTPUTS.modes)
    assert not looks_the_same_mirrored(forward)
    module = build("bandnet", OUTPUTS, forward)
    assert (module.turns, module.sides) == (1, 1)


@pytest.mark.parametrize(
    "update",
    [
        {"objective": Objective(sample_index=1.45, sample_depth_nm=1000)},
        {"beam": Beam(pattern=TopHat(step_waves=0.4))},
    ],
    ids=["index mismatch", "weak step"],
)
def test_instruments_that_the_mirror_alone_changes_are_known(update: dict[str, object]) -> None:
    forward = FORWARD.model_copy(update=update)
    assert looks_the_same_turned(forward, OUTPUTS.modes)
    assert not looks_the_same_mirrored(forward)


def test_unpaired_modes_are_not_turned() -> None:
    assert not looks_the_same_turned(FORWARD, ModeSet.of([(2, 2)]))
    assert looks_the_same_turned(FORWARD, OUTPUTS.modes)


def test_modes_without_their_partners_can_be_predicted() -> None:
    outputs = Outputs(ModeSet.of([(2, 2), (4, 0)]), mask_offset=True)
    assert build("bandnet", outputs, FORWARD)(torch.rand(1, 3, 32, 32)).shape == (1, len(outputs))


def test_outputs_without_modes_turn_too() -> None:
    assert torch.equal(turned_outputs(Outputs(None, mask_offset=True)), torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
