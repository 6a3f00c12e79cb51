"""The center of mass: direction, axes, and steadiness under noise."""

import pytest
import torch
from torch import Tensor

from stedalign.imaging.center_of_mass import center_of_mass_px

N = 32


def ring(x: float, y: float, z: float) -> Tensor:
    """Sections (1, 3, N, N) of a bright torus displaced by x, y, z pixels."""
    axis = torch.arange(N) - (N - 1) / 2

    def section(columns: float, rows: float) -> Tensor:
        radius = torch.hypot(axis[None, :] - columns, axis[:, None] - rows)
        return torch.exp(-((radius - 5) ** 2) / 4)

    return torch.stack([section(x, y), section(x, z), section(y, z)])[None]


def test_each_axis_is_seen_with_its_own_sign_and_length() -> None:
    displacement = center_of_mass_px(ring(3.0, -2.0, 1.5))
    assert displacement[0].tolist() == pytest.approx([3.0, -2.0, 1.5], abs=0.02)


def test_background_and_photon_noise_hardly_move_it() -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.poisson((ring(3.0, -2.0, 1.5) * 350 + 35).expand(50, -1, -1, -1), generator)
    error = center_of_mass_px(noisy) - torch.tensor([3.0, -2.0, 1.5])
    assert error.abs().max() < 0.2


def test_a_hot_pixel_does_not_set_the_threshold() -> None:
    image = ring(3.0, -2.0, 1.5)
    image[0, :, 0, 0] = 5.0
    # Were it the crest, the ring would lie below the threshold and the corner alone would count.
    assert (center_of_mass_px(image)[0] - torch.tensor([3.0, -2.0, 1.5])).abs().max() < 2


def test_a_section_without_signal_has_no_say() -> None:
    image = ring(3.0, -2.0, 1.5)
    image[0, 0] = 0
    assert center_of_mass_px(image)[0].tolist() == pytest.approx([3.0, -2.0, 1.5], abs=0.02)


def test_an_empty_image_has_no_displacement() -> None:
    assert center_of_mass_px(torch.zeros(2, 3, N, N)).abs().max() == 0
