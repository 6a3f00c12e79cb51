"""Promises of the way from a name to a microscope."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.images import Sampling
from stedalign.instrument.loading import MicroscopeError, connected, load_microscope
from stedalign.instrument.protocols import Microscope
from stedalign.instrument.slm_mask import SlmGeometry
from stedalign.instrument.stage import StageSpec
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat
from stedalign.optics.wavefront import ModeSet

SETUP = SimpleNamespace(
    objective=Objective(),
    depletion=Beam(),
    excitation=Beam(wavelength_nm=640.0, pattern=Flat()),
    bead=Bead(),
    sampling=Sampling(samples=8),
    detector=Detector(),
    slm=SlmGeometry(rows=40, columns=80, pupil_radius_px=15.0),
    stage=StageSpec(),
    modes=ModeSet.default(),
)


@pytest.fixture
def vendor(monkeypatch):
    module = ModuleType("vendor_of_microscopes")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_simulated_is_known_by_name_and_says_so():
    microscope = load_microscope("simulated", SETUP, seed=3)
    assert microscope.simulated
    assert microscope.name == "SIMULATED microscope"


def test_the_seed_moves_the_hidden_aberration():
    first, second = (load_microscope("simulated", SETUP, seed=seed) for seed in (3, 4))
    assert first.truth.hidden.aberration != second.truth.hidden.aberration


def test_a_factory_gets_the_setup_and_its_microscope_comes_back(vendor):
    parts = load_microscope("simulated", SETUP)
    seen = []

    def factory(setup):
        seen.append(setup)
        return Microscope(parts.source, parts.slm, parts.stage, name="bench")

    vendor.factory = factory
    assert load_microscope("vendor_of_microscopes:factory", SETUP).name == "bench"
    assert seen == [SETUP]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imspector", "no microscope is called 'imspector'; known: simulated"),
        ("no_such_package:factory", "No module named 'no_such_package'"),
        ("vendor_of_microscopes:absent", "absent"),
        ("vendor_of_microscopes:number", "not a function"),
        ("vendor_of_microscopes:wrong", "made a dict, not a Microscope"),
        ("vendor_of_microscopes:broken", "could not be started: RuntimeError: cable loose"),
        ("vendor_of_microscopes:halfway", "its stage lacks methods of Stage"),
    ],
)
def test_what_is_missing_is_an_error_of_one_line(vendor, name, words):
    def broken(setup):
        raise RuntimeError("cable\nloose")

    def halfway(setup):
        simulated = load_microscope("simulated", setup)
        return Microscope(simulated.source, simulated.slm, object())

    vendor.number = 5
    vendor.wrong = lambda setup: {}
    vendor.broken, vendor.halfway = broken, halfway
    with pytest.raises(MicroscopeError, match=words) as caught:
        load_microscope(name, SETUP)
    assert "\n" not in str(caught.value)


def test_what_the_simulator_raises_is_not_blamed_on_a_device(monkeypatch):
    def broken(setup):
        raise TypeError("a bug of ours")

    monkeypatch.setattr("stedalign.simulator.microscope.make_microscope", broken)
    with pytest.raises(TypeError, match=r"^a bug of ours$"):
        load_microscope("simulated", SETUP)


@pytest.mark.parametrize("part", ["source", "slm", "stage", "shutter"])
def test_a_microscope_that_lacks_a_part_is_closed_again(vendor, part):
    closed = []

    class Vendor(Microscope):
        def close(self):
            closed.append(True)

    def factory(setup):
        simulated = load_microscope("simulated", setup)
        parts = {name: getattr(simulated, name) for name in ("source", "slm", "stage", "shutter")}
        return Vendor(**(parts | {part: object()}))

    vendor.factory = factory
    with pytest.raises(MicroscopeError, match=f"its {part} lacks"):
        load_microscope("vendor_of_microscopes:factory", SETUP)
    assert closed == [True]


def test_what_is_missing_is_told_even_where_closing_fails(vendor):
    class Vendor(Microscope):
        def close(self):
            raise OSError("port is gone")

    vendor.factory = lambda _: Vendor("camera", "panel", "stage", shutter="shutter")
    words = "its source lacks methods of PsfSource; closing it failed as well: OSError: port is gone"
    with pytest.raises(MicroscopeError, match=words):
        load_microscope("vendor_of_microscopes:factory", SETUP)


def test_a_connection_is_closed_whatever_happens_on_it():
    closed = []

    class Vendor(Microscope):
        def close(self):
            closed.append(True)

    with pytest.raises(KeyboardInterrupt), connected(Vendor("camera", "panel", "stage")):
        raise KeyboardInterrupt
    assert closed == [True]


def test_a_connection_that_cannot_be_closed_takes_nothing_from_what_was_done_on_it():
    class Vendor(Microscope):
        def close(self):
            raise OSError("cable stuck")

    done = []
    with (
        pytest.warns(UserWarning, match="bench microscope could not be disconnected: OSError: cable stuck"),
        connected(Vendor("camera", "panel", "stage", name="bench microscope")),
    ):
        done.append(True)
    assert done


def test_a_microscope_error_is_a_value_error():
    assert issubclass(MicroscopeError, ValueError)


def test_closing_a_simulated_microscope_leaves_its_parts_as_they_are():
    microscope = load_microscope("simulated", SETUP)
    microscope.shutter.open()
    microscope.stage.move_to_nm(1.0, 2.0, 3.0)
    microscope.close()
    assert microscope.shutter.is_open
    assert microscope.stage.position_nm() == (1.0, 2.0, 3.0)
