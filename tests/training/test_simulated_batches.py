"""Images simulated while training."""

from itertools import islice

import pytest
import torch

from stedalign.imaging.detector import Bead
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.networks.outputs import Outputs
from stedalign.optics.beam import Beam
from stedalign.optics.patterns import Flat
from stedalign.optics.wavefront import ModeSet
from stedalign.training.simulated_batches import TOLERANCE, SimulatedBatches, SimulatedImages, fixed_batches
from stedalign.training.spec import SimulationSpec

MODES = ModeSet.of([(2, 2), (3, 1), (4, 0)])
# A point for a bead: its coherent modes are most of the planning.
FORWARD = ForwardSpec(bead=Bead(diameter_nm=0), sampling=Sampling(samples=16, pixel_nm=(100.0, 100.0, 120.0)))
OUTPUTS = Outputs(MODES, mask_offset=True, shift=True, sigma=True)
QUIET = {
    **dict.fromkeys(("shift_nm", "drift_nm", "mask_offset", "taper", "fill_center", "ellipticity_deg"), 0.0),
    "blur_nm": 0.0,
    "pixel_error": 0.0,
    "z_scale": 0.0,
}


def spec(**changes: object) -> SimulationSpec:
    return SimulationSpec.parse({"epoch": 32, "pool": 16, "modes": MODES.pairs} | changes)


@pytest.fixture(scope="module")
def source() -> SimulatedImages:
    return SimulatedImages(spec(), FORWARD, OUTPUTS, binning=1)


@pytest.fixture(scope="module")
def weak() -> SimulatedImages:
    """Where nothing differs but wavefronts, which are weak."""
    return SimulatedImages(spec(**QUIET, peak_waves=0.02), FORWARD, Outputs(MODES), binning=2)


def test_labels_are_the_parameters_of_the_image() -> None:
    quiet = SimulatedImages(spec(**QUIET), FORWARD, Outputs(MODES, shift=True), binning=1)
    images, labels = quiet.draw(8, torch.Generator().manual_seed(0))
    parameters = labels.clone()
    parameters[:, : len(MODES)] /= torch.tensor(MODES.norms)
    reference = ForwardModel(FORWARD, MODES, tolerance=1e-5).intensity(parameters)
    assert torch.allclose(images, reference, atol=0.02)


def test_instruments_differ(source: SimulatedImages) -> None:
    images, labels = source.draw(64, torch.Generator().manual_seed(0))
    assert set(source.model.focus.free) >= {"taper", "mask_offset_x", "leak_real", "blur_nm2", "pixel_error_z"}
    assert labels.shape == (64, len(MODES) + 2 + 3)
    assert labels[:, len(MODES) : len(MODES) + 2].abs().max() <= 0.15
    assert torch.isfinite(images).all()


def test_a_stack_holds_the_sections_planes(weak: SimulatedImages) -> None:
    """Its middle lies between two planes, so the mean of these is about the xy section."""
    stacks = SimulatedImages(weak.spec, FORWARD, weak.outputs, binning=2, stack=32)
    sections, labels = weak.draw(4, torch.Generator().manual_seed(0))
    stacks, same = stacks.draw(4, torch.Generator().manual_seed(0))
    assert stacks.shape == (4, 32, 8, 8)
    assert torch.equal(labels, same)
    assert torch.allclose(stacks[:, 15:17].mean(1), sections[:, 0], atol=0.02)


def test_what_an_instrument_does_not_have_does_not_vary() -> None:
    forward = FORWARD.model_copy(update={"beam": Beam(pattern=Flat())})
    free = SimulatedImages(spec(), forward, Outputs(MODES), binning=1).model.focus.free
    assert "mask_offset_x" not in free
    assert "taper" in free


def test_the_mask_of_an_annular_beam_moves_as_far_as_the_focus_follows() -> None:
    forward = FORWARD.model_copy(update={"beam": Beam(stop_radius=0.2)})
    source = SimulatedImages(spec(mask_offset=0.35), forward, OUTPUTS, binning=1)
    assert 0.1 < source.model.focus.reach["mask_offset_x"] < 0.2
    _, labels = source.draw(64, torch.Generator().manual_seed(0))
    assert float(labels[:, len(MODES) : len(MODES) + 2].norm(dim=1).max()) < 0.2


def test_a_mask_without_an_offset_has_none_to_learn() -> None:
    forward = FORWARD.model_copy(update={"beam": Beam(pattern=Flat())})
    with pytest.raises(ValueError, match="no offset to learn"):
        SimulatedImages(spec(), forward, OUTPUTS, binning=1)


def test_images_that_would_leave_their_field_are_refused() -> None:
    words = "shift_nm and drift_nm: a standard deviation of 205 nm along x .* must not exceed 200 nm"
    with pytest.raises(ValueError, match=words):
        SimulatedImages(spec(shift_nm=200, drift_nm=45), FORWARD, OUTPUTS, binning=1)


@pytest.mark.parametrize("axis", range(3))
def test_an_image_three_of_the_largest_deviations_away_is_about_as_exact(weak: SimulatedImages, axis: int) -> None:
    """Weak wavefronts take the fewest nodes, which leaves the least for what lies beyond the field."""
    rows = torch.zeros(1, len(MODES) + 3)
    rows[0, len(MODES) + axis] = 3 * 200.0
    exact = ForwardModel(FORWARD, MODES, tolerance=1e-6).intensity(rows)[0]
    found = torch.stack(weak.model.focus(rows)).reshape(exact.shape)
    assert float((found - exact).norm() / exact.norm()) < TOLERANCE


def test_the_same_seed_gives_the_same_epochs_and_another_seed_others(source: SimulatedImages) -> None:
    def epochs(seed: int) -> torch.Tensor:
        batches = SimulatedBatches(source, 16, seed)
        return torch.cat([images for _ in range(2) for images, _ in batches])

    first = epochs(1)
    assert len(first) == 64
    assert torch.equal(first, epochs(1))
    assert not torch.equal(first, epochs(2))


def test_images_are_shown_as_often_as_asked_and_then_replaced(source: SimulatedImages) -> None:
    batches = SimulatedBatches(source, 16, 0)
    # As a trainer does, which never asks for more than there are.
    epochs = [torch.cat([labels for _, labels in islice(batches, len(batches))]) for _ in range(40)]
    seen, place = torch.unique(torch.cat(epochs), dim=0, return_inverse=True)
    assert float(torch.bincount(place).double().mean()) == pytest.approx(source.spec.shown, rel=0.2)
    last = torch.stack(
        [(place == index).nonzero().max() - (place == index).nonzero().min() for index in range(len(seen))]
    )
    assert int(last.max()) < 2 * source.spec.shown * source.spec.pool


def test_validation_images_stay_the_same(source: SimulatedImages) -> None:
    first, again = (fixed_batches(source, 20, 16, 3) for _ in range(2))
    assert [len(labels) for _, labels in first] == [10, 10]
    assert all(torch.equal(one[0], other[0]) for one, other in zip(first, again, strict=True))
