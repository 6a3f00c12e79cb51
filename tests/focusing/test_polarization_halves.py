"""Light along x and light along y with masks and tilts of their own, against dense sums of either."""

import math

import numpy as np
import pytest
import torch
from optics_reference import dense_waves

from stedalign.errors import InputError
from stedalign.focusing.focus import Focus
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.beam import Beam
from stedalign.optics.deviations import check_free, within_room
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import HALVES_OFFSETS, HALVES_TILTS
from stedalign.optics.patterns import Flat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.targets import section
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
WAVES = [0.06, -0.05, 0.04]
TARGETS = [section("yx", (12, 12), (70, 60)), section("zx", (10, 12), (110, 60))]
POINTS = np.concatenate([target.points_nm for target in TARGETS])
TOLERANCE = 1e-4
X, Y = (Polarization(ellipticity_deg=0.0, azimuth_deg=azimuth) for azimuth in (0.0, 90.0))
OFFSET, TILT, MOVED = (0.09, -0.06), (0.08, -0.05), (0.05, 0.02)
FREE = {
    "taper": 0.5,
    "mask_offset_x": 0.1,
    "mask_offset_y": 0.1,
    **dict.fromkeys(HALVES_OFFSETS, 0.1),
    **dict.fromkeys(HALVES_TILTS, 0.1),
}


def fields(polarization, side, taper):
    """The field (3, points) of light of a linear polarization that has ``side`` of what the halves differ by."""
    core = np.add(MOVED, side * np.array(OFFSET))
    part = Beam(fill=taper**-0.5, pattern=Vortex(mask_offset=tuple(core)), polarization=polarization)
    x, y, k, amplitude = dense_waves(Objective(), part, 60, 120)
    waves = MODES.polynomials(x, y) @ WAVES + side * (TILT[0] * x + TILT[1] * y)
    return (amplitude * np.exp(2j * np.pi * waves)) @ np.exp(1j * (k @ POINTS.T))


def focus_of(beam):
    focus = Focus(Objective(), beam, MODES, TARGETS, free=FREE, tolerance=TOLERANCE, strength_waves=0.15)
    row = focus.rest.clone()
    row[: len(MODES)] = torch.tensor(WAVES)
    row[focus.steering :] = torch.tensor([0.3, *MOVED, *OFFSET, *TILT])
    return focus, row


@pytest.mark.parametrize(
    ("light", "coherent"), [(Polarization(), True), (Polarization(ellipticity_deg=20.0, azimuth_deg=30.0), True),
                            (Polarization(kind="unpolarized"), False)]
)  # fmt: skip
def test_the_halves_meet_the_dense_sums_of_light_along_x_and_along_y(light, coherent):
    beam = Beam(polarization=light)
    focus, row = focus_of(beam)
    found = torch.cat(focus(row[None]), dim=1)[0].numpy() / float(focus.scale)
    if coherent:
        x, y = light.jones
        expected = (np.abs(x * fields(X, 1, 0.3) + y * fields(Y, -1, 0.3)) ** 2).sum(axis=0)
    else:
        expected = sum((np.abs(fields(part, side, 0.3)) ** 2).sum(axis=0) for part, side in ((X, 1), (Y, -1)))
    assert np.linalg.norm(found - expected) <= TOLERANCE * np.linalg.norm(expected)


@pytest.mark.parametrize("light", [Polarization(), Polarization(kind="unpolarized")], ids=lambda light: light.kind)
def test_slopes_along_the_halves_are_those_of_central_differences(light):
    focus, row = focus_of(Beam(polarization=light))
    (slopes,) = torch.cat(focus.jacobian(row[None])[1], dim=2)
    for column in range(focus.steering, len(row)):
        step = torch.zeros_like(row)
        step[column] = 1e-4
        plus, minus = (torch.cat(focus((row + sign * step)[None]), 1)[0] for sign in (1, -1))
        expected = (plus - minus) / 2e-4
        assert float(torch.linalg.norm(slopes[column] - expected)) < 1e-6 * float(torch.linalg.norm(expected))


def test_halves_that_are_alike_are_the_beam_itself():
    focus, row = focus_of(Beam())
    row[focus.steering + 3 :] = 0
    free = {name: most for name, most in FREE.items() if not name.startswith("halves")}
    plain = Focus(Objective(), Beam(), MODES, TARGETS, free=free, tolerance=TOLERANCE, strength_waves=0.15)
    halved, whole = torch.cat(focus(row[None]), dim=1), torch.cat(plain(row[None, :-4]), dim=1)
    assert torch.linalg.norm(halved - whole) < 2 * TOLERANCE * torch.linalg.norm(whole)


def test_a_setup_that_asks_for_the_halves_has_them_free_in_the_forward_model():
    assert not any(name.startswith("halves") for name in Nuisances().free(Beam()))
    asked = Nuisances(halves_offset=0.1, halves_tilt=0.05)
    spec = ForwardSpec(sampling=Sampling(samples=16, pixel_nm=(110.0, 110.0, 110.0)))
    model = ForwardModel(spec, MODES, free=asked.free(Beam()), tolerance=3e-2, strength_waves=0.1)
    columns = model.layout.columns([*HALVES_OFFSETS, *HALVES_TILTS])
    assert len(columns) == 4
    row = model.layout.pack_focus(torch.tensor([WAVES]))
    row[:, columns] = torch.tensor([0.05, -0.04, 0.03, 0.02])
    values, slopes = model.jacobian(row.float())
    moved = row.clone()
    moved[:, columns] += 1e-3
    change = model.intensity(moved.float()).flatten(2) - values
    assert torch.linalg.norm(slopes[:, columns].sum(1) * 1e-3 - change) < 0.03 * torch.linalg.norm(change)


def test_both_masks_stay_in_the_light():
    with pytest.raises(InputError, match=r"a mask offset of up to 0\.3[0-9]* pupil radii is too far"):
        check_free(Beam(stop_radius=0.3), {"mask_offset_x": 0.2, "halves_offset_x": 0.12})
    asked = Nuisances(halves_offset=0.1).free(Beam(stop_radius=0.3))
    check_free(Beam(stop_radius=0.3), asked)
    assert asked["halves_offset_x"] > 0.05
    free = {"mask_offset_x": 0.2, "halves_offset_x": 0.12}
    assert within_room(Beam(), free) == free


def test_a_beam_without_a_mask_has_tilts_alone():
    asked = Nuisances(halves_offset=0.1, halves_tilt=0.05).free(Beam(pattern=Flat()))
    assert [name for name in asked if name.startswith("halves")] == list(HALVES_TILTS)
    assert math.isclose(asked["halves_tilt_x"], 0.15)
