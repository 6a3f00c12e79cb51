"""Beams whose components add as intensities, and a detection that weighs Ez, against dense sums.

The components are written out by hand here, with their shares of the power.
"""

from functools import lru_cache

import numpy as np
import pytest
import torch
from optics_reference import angle_of, dense_waves, pupil_rule

from stedalign.errors import InputError
from stedalign.focusing.focus import Focus
from stedalign.focusing.pupil_quadrature import sample_pupil
from stedalign.optics.beam import Beam, Overlay
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import nominal
from stedalign.optics.patterns import Flat, TopHat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.targets import section
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
WAVES = [0.06, -0.05, 0.04]
TARGETS = [section("yx", (12, 12), (70, 60)), section("zx", (10, 12), (110, 60))]
POINTS = np.concatenate([target.points_nm for target in TARGETS])
TOLERANCE = 1e-4

NONE, CIRCULAR = Polarization(kind="unpolarized"), Polarization()
X, Y = (Polarization(ellipticity_deg=0.0, azimuth_deg=azimuth) for azimuth in (0.0, 90.0))
VORTEX, TOP_HAT = Vortex(mask_offset=(0.1, -0.05)), TopHat(ring_radius=0.6, mask_offset=(-0.1, 0.1))
LIGHT = {"fill": 1.1, "fill_center": (0.05, 0.1)}
BEAMS = {
    "spot": (Beam(pattern=Flat(), polarization=NONE), [(0.5, Flat(), X), (0.5, Flat(), Y)]),
    "donut": (Beam(pattern=VORTEX, polarization=NONE, **LIGHT), [(0.5, VORTEX, X), (0.5, VORTEX, Y)]),
    "overlay": (
        Beam(pattern=VORTEX, overlay=Overlay(share=0.35, pattern=TOP_HAT, polarization=X), **LIGHT),
        [(0.65, VORTEX, CIRCULAR), (0.35, TOP_HAT, X)],
    ),
    "overlay in unpolarized light": (
        Beam(pattern=Flat(), polarization=NONE, overlay=Overlay(share=0.3, pattern=TOP_HAT, polarization=NONE)),
        [(0.35, Flat(), X), (0.35, Flat(), Y), (0.15, TOP_HAT, X), (0.15, TOP_HAT, Y)],
    ),
    "one": (Beam(pattern=VORTEX, **LIGHT), [(1.0, VORTEX, CIRCULAR)]),
}
"""Each with shares, patterns and polarizations of its components."""
CHANGES = [
    {},
    {"taper": 0.4},
    {"taper": 0.3, "fill_center_x": 0.1, "fill_center_y": -0.06},
    {"mask_offset_x": 0.08, "mask_offset_y": -0.05},
    {"ez_weight": -0.5},
    {"taper": 0.2, "fill_center_y": 0.1, "mask_offset_x": -0.1, "ez_weight": 0.3},
]
"""Deviations from the beam's own values."""
FREE = {
    "taper": 0.5,
    "fill_center_x": 0.1,
    "fill_center_y": 0.1,
    "mask_offset_x": 0.1,
    "mask_offset_y": 0.1,
    "ez_weight": 0.6,
}


@lru_cache(maxsize=8)
def focus_of(name):
    beam, parts = BEAMS[name]
    movable = any(pattern.can_move for _, pattern, _ in parts)
    free = {key: most for key, most in FREE.items() if movable or not key.startswith("mask")}
    return Focus(Objective(), beam, MODES, TARGETS, free=free, tolerance=TOLERANCE, strength_waves=0.15).double()


def row_of(focus, changes):
    row = focus.rest.clone()
    row[: len(MODES)] = torch.tensor(WAVES)
    for key, deviation in changes.items():
        row[focus.steering + focus.free.index(key)] += deviation
    return row


def dense(beam, parts, changes):
    """Intensity (points,) of a beam of power 1, whose light and masks then change."""

    def changed(key):
        return nominal(beam, key) + changes.get(key, 0.0)

    taper, center = changed("taper"), (changed("fill_center_x"), changed("fill_center_y"))
    light = {"fill": taper**-0.5 if taper else np.inf, "fill_center": center}
    move = (changes.get("mask_offset_x", 0.0), changes.get("mask_offset_y", 0.0))
    total = np.zeros(len(POINTS))
    for share, pattern, polarization in parts:
        moved = {"mask_offset": tuple(np.add(pattern.core, move))} if pattern.can_move else {}
        part = Beam(pattern=pattern.model_copy(update=moved), polarization=polarization, **light)
        x, y, k, amplitude = dense_waves(Objective(), part, 60, 120)
        waves = amplitude * np.exp(2j * np.pi * MODES.polynomials(x, y) @ WAVES)
        e_x, e_y, e_z = np.abs(waves @ np.exp(1j * (k @ POINTS.T))) ** 2
        total += share * (e_x + e_y + changed("ez_weight") * e_z)
    return total / power_of(beam)


def power_of(beam):
    """What an aplanatic lens lets through of a beam with amplitude 1 at its center."""
    x, y, area = pupil_rule(Flat(), 60, 120)
    _, height, _ = angle_of(Objective(), np.zeros(1))
    squared = (x - beam.fill_center[0]) ** 2 + (y - beam.fill_center[1]) ** 2
    return height**2 * area @ np.exp(-2 * squared / beam.fill**2)


@pytest.mark.parametrize("name", BEAMS)
def test_components_meet_the_dense_sums_of_their_shares_whatever_changes(name):
    beam, parts = BEAMS[name]
    focus = focus_of(name)
    for changes in CHANGES:
        if set(changes) <= set(focus.free):
            found = torch.cat(focus(row_of(focus, changes)[None]), dim=1)[0].numpy()
            expected = dense(beam, parts, changes)
            error = found / float(focus.scale) / focus.pupil.power - expected
            assert np.linalg.norm(error) <= TOLERANCE * np.linalg.norm(expected), changes


@pytest.mark.parametrize("name", BEAMS)
def test_slopes_are_those_of_central_differences(name):
    focus, step = focus_of(name), 1e-4
    row = row_of(focus, {"taper": 0.2, "fill_center_x": 0.03, "ez_weight": -0.3})
    (slopes,) = torch.cat(focus.jacobian(row[None])[1], dim=2)
    for key in focus.free:
        plus, minus = (torch.cat(focus(row_of_step(focus, row, key, sign * step)[None]), 1)[0] for sign in (1, -1))
        expected, found = (plus - minus) / (2 * step), slopes[focus.steering + focus.free.index(key)]
        assert float(torch.linalg.norm(found - expected)) < 1e-6 * float(torch.linalg.norm(expected)), key


def row_of_step(focus, row, key, step):
    moved = row.clone()
    moved[focus.steering + focus.free.index(key)] += step
    return moved


def test_unpolarized_light_is_the_mean_of_light_along_x_and_along_y():
    def seen(light):
        focus = Focus(Objective(), Beam(pattern=Flat(), polarization=light), MODES, TARGETS, tolerance=1e-6).double()
        return torch.cat(focus(row_of(focus, {})[None]), dim=1) / focus.scale / focus.pupil.power

    torch.testing.assert_close(seen(NONE), (seen(X) + seen(Y)) / 2, rtol=0, atol=2e-6 * float(seen(X).max()))


def test_unpolarized_light_is_round_where_light_along_x_is_not():
    target = section("yx", (17, 17), (60, 60))
    beams = [Beam(pattern=Flat(), polarization=light) for light in (X, NONE)]
    plans = [Focus(Objective(), beam, MODES, [target]) for beam in beams]
    linear, unpolarized = (plan(plan.rest[None])[0].reshape(17, 17) for plan in plans)
    torch.testing.assert_close(unpolarized, unpolarized.T, rtol=0, atol=1e-6)
    assert float((linear - linear.T).abs().max()) > 0.1


def test_components_have_their_parts_of_the_power():
    for beam, parts in BEAMS.values():
        powers = [part.power_w for part in beam.components]
        assert powers == pytest.approx([beam.power_w * share for share, *_ in parts])
        assert all(part.components == [part] for part in beam.components)


def test_unpolarized_light_has_components_but_no_field_of_its_own():
    for ask in (
        lambda: NONE.field(np.zeros(1), np.zeros(1)),
        lambda: sample_pupil(Objective(), BEAMS["spot"][0], 10, 20),
    ):
        with pytest.raises(InputError, match="components one by one"):
            ask()


def test_a_leak_of_several_polarizations_is_refused():
    for name in ("spot", "overlay"):
        with pytest.raises(InputError, match="leak_real is not supported for a beam of several components"):
            Focus(Objective(), BEAMS[name][0], MODES, TARGETS, free={"leak_real": 0.1})


def test_masks_that_move_together_must_both_stay_in_the_light():
    beam = Beam(overlay=Overlay(pattern=TopHat(mask_offset=(0.4, 0.0))))
    with pytest.raises(InputError, match=r"a mask offset of up to 0\.9 pupil radii is too far"):
        Focus(Objective(), beam, MODES, TARGETS, free={"mask_offset_x": 0.5})
