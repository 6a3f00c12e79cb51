"""Promises of where a focus lies: its dark center or its spot, against the dense quadrature of the same beam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from optics_reference import dense_intensity

from stedalign.config import Setup
from stedalign.estimation.overlay import PlaceOfFocus
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import Sampling, View
from stedalign.optics.beam import Beam
from stedalign.optics.patterns import Flat, TopHat, Vortex
from stedalign.optics.wavefront import ModeSet, Wavefront

SETUP = Setup()
COMA = ModeSet.of([(3, -1), (3, 1)])
PLACE_NM = np.array([20.0, -35.0, 60.0])


def place(beam, *, pixel_nm=31.25, waves=(0.0, 0.0), bead_nm=80.0, parts=("xy", "xz", "yz"), free=None):
    spec = SETUP.forward.model_copy(
        update={"beam": beam, "bead": SETUP.bead.model_copy(update={"diameter_nm": bead_nm}), "sampling": Sampling()}
    )
    count = round(2000 / pixel_nm)
    view = View(parts=parts, shape=(count, count), pixel_nm=(pixel_nm,) * 3)
    model = ForwardModel(spec, COMA, view=view, free=free)
    vector = torch.zeros(1, len(model.layout), dtype=torch.float64)
    vector[:, model.layout.modes] = torch.tensor(waves)
    vector[:, model.layout.shift] = torch.from_numpy(PLACE_NM)
    vector[:, model.layout.free] = torch.tensor([0.1] * len(model.layout.free_names))
    vector[:, model.layout.scale] = 350.0
    return PlaceOfFocus(model)(vector)[0]


@pytest.mark.parametrize("pattern", [Vortex(), TopHat(), Flat()], ids=lambda pattern: pattern.kind)
@pytest.mark.parametrize("pixel_nm", [20.0, 31.25, 90.0])
def test_a_focus_without_aberration_lies_where_it_was_put(pattern, pixel_nm):
    np.testing.assert_allclose(place(Beam(pattern=pattern), pixel_nm=pixel_nm), PLACE_NM, atol=0.6)


def test_pixels_of_another_size_are_no_displacement():
    at = place(Beam(), free={"pixel_error_x": 0.2, "pixel_error_y": 0.2, "pixel_error_z": 0.2})
    np.testing.assert_allclose(at, PLACE_NM, atol=0.6)


def test_without_an_xy_section_the_others_tell_x_and_y():
    at = place(Beam(pattern=Flat()), parts=("xz", "yz"))
    np.testing.assert_allclose(at, PLACE_NM, atol=1.0)


@pytest.mark.parametrize(("pattern", "sign"), [(Vortex(), 1), (Flat(), -1)], ids=["zero", "spot"])
def test_aberrations_move_zero_and_spot_as_dense_quadrature_says(pattern, sign):
    beam, waves = Beam(pattern=pattern), (0.06, -0.1)
    fine = np.arange(-60.0, 61.0, 2.0)
    # The section passes through the bead's nominal height, from which the focus lies away.
    points = np.array([(x, y, -PLACE_NM[2]) for y in fine for x in fine])
    (light,) = dense_intensity(SETUP.objective, beam, [Wavefront(COMA, waves)], points)
    moved = points[(sign * light).argmin()] - [0, 0, -PLACE_NM[2]]
    assert np.hypot(*moved[:2]) > 3
    at = place(beam, waves=waves, bead_nm=0.0, parts=("xy",)) - PLACE_NM
    np.testing.assert_allclose(at[:2], moved[:2], atol=2.0)
