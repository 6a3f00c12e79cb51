"""Planes of a volume with a light and a place of their own, against dense matrices and planes that are moved."""

import numpy as np
import pytest
import torch

from stedalign.imaging.detector import Bead
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import VOLUME, Sampling, View
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
SPEC = ForwardSpec(bead=Bead(diameter_nm=0))
FLUX, WOBBLE_NM = 0.05, 8.0
SHAPE = (8, 20, 16)


def model_of(binning=1, unsteady=(FLUX, WOBBLE_NM), pixel_nm=(55.0, 50.0, 110.0)):
    view = View(parts=(VOLUME,), shape=SHAPE, pixel_nm=pixel_nm)
    return ForwardModel(
        SPEC, MODES, view=view, binning=binning, tolerance=1e-3, strength_waves=0.1, unsteady=unsteady
    ).double()


@pytest.fixture(scope="module")
def model():
    return model_of()


@pytest.fixture(scope="module")
def row(model):
    row = model.layout.pack_focus(torch.tensor([[0.05, -0.04, 0.06]]).double(), torch.tensor([[10.0, 20.0, -30.0]]))
    return torch.cat([row.double(), torch.tensor([[900.0, 20.0]]).double()], dim=1)


def unsteady(model, row, light, moved):
    """Photons (1, pixels) with the light (Z,) and the displacements (Z, 2) of each plane, each computed by itself."""
    rows = row.repeat(SHAPE[0], 1)
    rows[:, model.layout.shift.start : model.layout.shift.start + 2] += moved
    rows[:, model.layout.scale] *= light[:, None]
    volumes = model(rows)[:, 0]
    return torch.stack([volume[plane] for plane, volume in enumerate(volumes)]).reshape(1, -1)


def drawn(seed=0):
    generator = torch.Generator().manual_seed(seed)
    light = 1 + FLUX * torch.randn(SHAPE[0], generator=generator, dtype=torch.float64)
    return light, WOBBLE_NM * torch.randn(SHAPE[0], 2, generator=generator, dtype=torch.float64)


def found_in(model, row, data):
    values = model(row).flatten(1)
    nothing, all_of_them = torch.zeros_like(data), torch.ones_like(data)
    return model.planes.found(values, row, data, nothing, all_of_them, 1e-2)


def test_light_and_place_of_each_plane_are_found(model, row):
    light, moved = drawn()
    bright = row.clone()
    bright[:, model.layout.scale.start :] *= 1e3
    data = unsteady(model, bright, light, moved)
    found = found_in(model, bright, data)
    np.testing.assert_allclose(found.amounts[0, :, 0], light - 1, atol=5e-3)
    np.testing.assert_allclose(found.amounts[0, :, 1:], moved, atol=0.15 * WOBBLE_NM)
    steady = model(bright).flatten(1)
    assert torch.linalg.norm(found.light - data) < 0.15 * torch.linalg.norm(steady - data)


def test_columns_are_weighed_by_the_inverse_of_the_dense_covariance(model, row):
    values, slopes = (part.flatten(-2) for part in model.linearize(row))
    weight = 1 / values
    changes = model.planes.changes(values, row)
    blocks = torch.block_diag(*changes[0].unbind(1)).T
    sigmas = torch.tensor([FLUX, WOBBLE_NM, WOBBLE_NM]).double().repeat(SHAPE[0])
    dense = torch.diag(values[0]) + (blocks * sigmas**2) @ blocks.T
    expected = torch.linalg.solve(dense, slopes[0].T).T
    weighed = model.planes.weighed(slopes, changes, weight)
    torch.testing.assert_close(weighed[0], expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max()))
    scattered = weighed[0] @ (blocks * sigmas**2) @ blocks.T @ weighed[0].T
    torch.testing.assert_close(model.planes.scattered(weighed, changes)[0], scattered, rtol=1e-6, atol=1e-9)


def test_derivatives_are_those_of_planes_with_a_light_and_a_place(model, row):
    light, moved = drawn(1)
    amounts = torch.cat([light[:, None] - 1, moved], dim=1)[None]
    slopes = model.linearize(row)[1].flatten(-2)
    found = model.planes.with_amounts(slopes, amounts)

    def lit(parameters):
        steady = model(parameters).flatten(1)
        changes = model.planes.changes(steady, parameters)
        return steady + torch.einsum("bczx,bzc->bzx", changes, amounts).flatten(1)

    for column in range(len(model.layout)):
        step = torch.zeros_like(row)
        step[:, column] = 1e-4
        expected = (lit(row + step) - lit(row - step)) / 2e-4
        assert torch.linalg.norm(found[:, column] - expected) < 1e-5 * torch.linalg.norm(expected)


def test_planes_that_are_added_up_scatter_less_and_are_drawn_as_they_were(row):
    binned = model_of(binning=2)
    assert binned.planes.precision[0] == pytest.approx(2 / FLUX**2)
    light, moved = torch.linspace(0.9, 1.1, 4).double(), torch.zeros(4, 2).double()
    amounts = torch.cat([light[:, None] - 1, moved], dim=1)[None]
    steady = binned.unbinned(row)
    seen = binned.planes.unbinned(steady, row, amounts)
    ratio = (seen - 20) / (steady - 20)
    np.testing.assert_allclose(ratio[0, 0, :, 5, 5], light.repeat_interleave(2), rtol=1e-6)


def test_only_what_a_setup_asks_for_scatters_and_only_in_volumes():
    assert (Nuisances().plane_flux, Nuisances().plane_wobble_nm) == (0, 0)
    assert model_of(unsteady=(0.0, 0.0)).planes is None
    assert model_of(unsteady=(0.0, 3.0)).planes.kinds == [1, 2]
    sections = SPEC.model_copy(update={"sampling": Sampling(samples=16, pixel_nm=(110.0, 110.0, 110.0))})
    assert ForwardModel(sections, MODES, tolerance=3e-2, strength_waves=0.1, unsteady=(0.1, 3.0)).planes is None
