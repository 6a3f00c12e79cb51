"""What the numbers of a network's last layer mean."""

import pytest
import torch

from stedalign.imaging.images import PLANES
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.of([(2, 2), (4, 0)])


class Constant(SectionNetwork):
    """Answers the same numbers whatever it is shown."""

    def __init__(self, *values: float) -> None:
        super().__init__(PLANES)
        self.values = torch.tensor(values)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.values.expand(len(images), -1)


def test_modes_come_back_in_rms_waves_and_the_mask_offset_as_it_is() -> None:
    found = Network(Constant(0.6, 0.5, -0.1, 0.2), Outputs(MODES, mask_offset=True)).predict_all(torch.rand(3, 3, 8, 8))
    torch.testing.assert_close(found.waves, torch.tensor([0.6 / 6**0.5, 0.5 / 5**0.5]).expand(3, -1))
    torch.testing.assert_close(found.mask_offset, torch.tensor([-0.1, 0.2]).expand(3, -1))


def test_what_is_not_predicted_is_none() -> None:
    images = torch.rand(1, 3, 8, 8)
    assert Network(Constant(0.6, 0.5), Outputs(MODES)).predict_all(images).mask_offset is None
    offset_alone = Network(Constant(0.1, 0.2), Outputs(None, mask_offset=True))
    assert offset_alone.predict_all(images).waves is None
    with pytest.raises(ValueError, match="the mask offset alone, no modes"):
        offset_alone.predict(images)


@pytest.mark.parametrize(("modes", "mask_offset", "count"), [(MODES, False, 2), (MODES, True, 4), (None, True, 2)])
def test_outputs_are_counted(modes: ModeSet | None, mask_offset: bool, count: int) -> None:
    assert len(Outputs(modes, mask_offset)) == count


def test_a_network_that_predicts_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="modes, the mask offset or both"):
        Outputs(None)
