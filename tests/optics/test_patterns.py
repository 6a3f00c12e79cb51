"""Patterns: each declares where its phase steps, and one of the user's own is a file like any other."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Literal

import numpy as np
import pytest
import torch
from cross_pattern import Cross

from stedalign.optics.beam import Beam
from stedalign.optics.patterns import (
    Bivortex,
    Flat,
    HalfMoon,
    TopHat,
    Vortex,
    known_kinds,
    parse_pattern,
    registry,
)
from stedalign.spec import SpecError

DISPLACED = [
    Vortex(charge=2, mask_offset=(0.2, -0.1)),
    TopHat(ring_radius=0.5, mask_scale=1.2, step_waves=0.4, mask_offset=(0.1, 0.3)),
    HalfMoon(mask_rotation_deg=25.0, mask_offset=(-0.2, 0.1)),
    Bivortex(ring_radius=0.4, mask_scale=1.5, mask_offset=(0.0, 0.3)),
    Flat(),
    Cross(mask_rotation_deg=-70.0, mask_offset=(0.1, 0.2)),
]


@pytest.mark.parametrize("pattern", DISPLACED, ids=lambda pattern: pattern.kind)
def test_the_phase_steps_where_the_pattern_says_and_nowhere_else(pattern):
    around = 2 * np.pi * (np.arange(20_000) + 0.5) / 20_000
    edges = jumps(pattern, 0.3, around, around)
    np.testing.assert_allclose(edges, np.sort(np.mod(pattern.edges_rad, 2 * np.pi)), atol=1e-3)
    outwards = np.linspace(0.05, 1.2, 20_000)
    np.testing.assert_allclose(jumps(pattern, outwards, 0.2, outwards), pattern.rings, atol=1e-3)


def jumps(pattern, distance, azimuth, along):
    """Where along a path around the core, or away from it, the phasor leaps."""
    core_x, core_y = pattern.core
    phasor = np.exp(1j * pattern.phase(core_x + distance * np.cos(azimuth), core_y + distance * np.sin(azimuth)))
    return along[1:][np.abs(np.diff(phasor)) > 0.5]


@pytest.mark.parametrize("pattern", DISPLACED, ids=lambda pattern: pattern.kind)
def test_an_offset_stands_in_for_the_pattern_s_own_in_arrays_and_tensors_alike(pattern):
    x, y = np.random.default_rng(1).uniform(-1, 1, (2, 50))
    own = pattern.phase(x, y)
    centered = pattern.model_copy(update={"mask_offset": (0.0, 0.0)}) if pattern.can_move else pattern
    as_tensors = centered.phase(torch.from_numpy(x), torch.from_numpy(y), pattern.core)
    np.testing.assert_allclose(np.exp(1j * as_tensors.numpy()), np.exp(1j * own), atol=1e-12)


@pytest.mark.parametrize("pattern", DISPLACED, ids=lambda pattern: pattern.kind)
def test_a_pattern_is_written_with_its_own_keys_and_read_back(pattern):
    beam = Beam(pattern=pattern)
    written = beam.model_dump(mode="json")
    assert set(written["pattern"]) == set(type(pattern).model_fields)
    assert Beam.parse(written) == beam


def test_a_table_without_a_kind_is_a_vortex():
    assert parse_pattern({"charge": -2}) == Vortex(charge=-2)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"kind": "donut"}, "there is no pattern 'donut'; known: bivortex"),
        ({"kind": "flat", "charge": 1}, r"the pattern 'flat' has no key 'charge'; it has kind \(\[pattern\]\)"),
        ({"kind": "nowhere.at_all:Cross"}, "'nowhere.at_all:Cross' cannot be loaded: ModuleNotFoundError"),
        ({"kind": "cross_pattern:Circle"}, "'cross_pattern:Circle' cannot be loaded: AttributeError"),
        ({"kind": "pathlib:Path"}, "'pathlib:Path' is no subclass of"),
        ({"kind": "stedalign.optics.patterns:Vortex"}, "calls itself 'vortex'"),
        ({"kind": "top_hat", "step_waves": 0}, "needs a phase step that is not 0"),
        (3, "pattern = 3"),
    ],
    ids=str,
)
def test_a_pattern_that_is_none_is_refused_in_one_line(pattern, message):
    with pytest.raises(SpecError, match=message) as caught:
        Beam.parse({"pattern": pattern})
    assert "\n" not in str(caught.value)


def test_an_installed_package_offers_a_pattern_by_a_name_of_its_own(monkeypatch):
    class Named(Flat):
        """Flat, by another name."""

        kind: Literal["named"] = "named"

    monkeypatch.setattr("cross_pattern.Named", Named, raising=False)
    monkeypatch.delitem(registry.REGISTERED, "named")
    assert "named" not in known_kinds()
    entry = EntryPoint("named", "cross_pattern:Named", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert "named" in known_kinds()
    assert parse_pattern({"kind": "named"}) == Named()


def test_no_pattern_takes_the_name_of_another():
    with pytest.raises(TypeError, match="there is a pattern 'vortex' already"):

        class Impostor(Flat):
            """Not a vortex."""

            kind: Literal["vortex"] = "vortex"
