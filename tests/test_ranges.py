"""Every number that describes something has a range, whichever description it stands in."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import stedalign
from stedalign.errors import InputError
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.spec import Spec, SpecError

DESCRIBES = re.compile(r"^class \w+\((Spec|Pattern|Mask)\b", re.MULTILINE)
ZERO = Wavefront.zero(ModeSet.default())
REQUIRED: dict[str, dict[str, Any]] = {
    "View": {"parts": ("xy",), "shape": (16, 16), "pixel_nm": (30.0, 30.0, 30.0)},
    "HiddenWorld": {"aberration": ZERO},
    "IndexLayer": {"thickness_nm": 100.0, "index": 1.33},
}
"""What a description needs before anything of it can be tried."""
FILLED: dict[str, Any] = {
    "Objective.sample_index": 1.33,
    "SlmGeometry.pupil_center_px": (190.0, 300.0),
    "Detector.baseline": 100.0,
    "Detector.gain": 2.0,
    "Detector.read_noise": 1.0,
    "View.part_pixel_nm": ((30.0, 30.0),),
    "HiddenExcitation.fill": 1.0,
    "HiddenExcitation.fill_center": (0.1, 0.0),
    "HiddenWorld.fill": 1.0,
    "HiddenWorld.fill_center": (0.1, 0.0),
    "HiddenWorld.pinhole_airy": 1.0,
    "HiddenWorld.bead_diameter_nm": 80.0,
    "HiddenWorld.second_bead_nm": (300.0, 0.0, 0.0),
    "HiddenWorld.amplitude": ((2, 0, 0.1),),
}
"""Of fields that hold no number until one is given."""
INFINITE = {
    "Beam.fill": "a uniform beam",
    "HiddenExcitation.fill": "a uniform beam",
    "HiddenWorld.fill": "a uniform beam",
    "Detection.pinhole_airy": "an open pinhole",
    "Detector.saturation": "a detector that never clips",
    "Limits.max_reduced_chi2": "nothing counts as model error",
    "Limits.max_rms_waves": "no limit",
    "Limits.max_sigma_waves": "no limit",
    **dict.fromkeys(
        [f"Nuisances.{name}" for name in ("mask_offset", "taper", "blur_nm", "pixel_error", "z_scale", "ez_weight")],
        "nothing is known",
    ),
}
"""Fields that take inf, and what it means there; every other number is finite."""


def descriptions() -> Iterator[type[Spec]]:
    """Every description of the package that can be made."""
    for module in pkgutil.walk_packages(stedalign.__path__, "stedalign."):
        source = Path(stedalign.__path__[0], *module.name.split(".")[1:]).with_suffix(".py")
        if source.exists() and DESCRIBES.search(source.read_text(encoding="utf-8")):
            found = vars(importlib.import_module(module.name)).values()
            for kind in found:
                of_this = isinstance(kind, type) and issubclass(kind, Spec) and kind.__module__ == module.name
                if of_this and not inspect.isabstract(kind):
                    yield kind


def kinds(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from kinds(part)


NUMERIC = {
    f"{spec.__name__}.{name}": (spec, name)
    for spec in descriptions()
    for name, field in spec.model_fields.items()
    if {int, float} & set(kinds(field.annotation))
}


@pytest.fixture
def needed(tmp_path: Path) -> dict[str, dict[str, Any]]:
    np.save(tmp_path / "map.npy", np.zeros((16, 16)))
    return REQUIRED | {"MaskFile": {"file": str(tmp_path / "map.npy")}}


def replaced(value: Any, key: str) -> Iterator[Any]:
    """``value`` with each of its numbers in turn replaced by each one that none may be."""
    if isinstance(value, list | tuple):
        for place, part in enumerate(value):
            for bad in replaced(part, key):
                yield [*value[:place], bad, *value[place + 1 :]]
    elif isinstance(value, int):
        yield from (True, 10**18, -(10**18), math.inf)
    else:
        yield from (True, 1e30, -1e30, math.nan, -math.inf)
        if key not in INFINITE:
            yield math.inf


def holds_a_number(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(holds_a_number, value))
    return isinstance(value, int | float)


def test_all_descriptions_are_looked_at():
    assert {"Setup", "Beam", "Vortex", "TrainSpec", "HiddenWorld", "Policy"} <= {
        spec.__name__ for spec in descriptions()
    }
    assert len(NUMERIC) > 130


@pytest.mark.filterwarnings("ignore:pixels of:UserWarning")
@pytest.mark.parametrize("key", NUMERIC)
def test_a_number_far_out_of_range_is_refused_in_one_line_that_names_it(needed, key):
    spec, name = NUMERIC[key]
    given = needed.get(spec.__name__, {})
    value = FILLED.get(key, given.get(name, spec.model_fields[name].default))
    spec.parse(given | {name: value})
    assert holds_a_number(value), f"give {key} a number in FILLED"
    for bad in replaced(value, key):
        with pytest.raises(SpecError, match=f"{name}|mode|pupil") as refusal:
            spec.parse(given | {name: bad})
        assert "\n" not in str(refusal.value), bad


@pytest.mark.filterwarnings("ignore:pixels of:UserWarning")
@pytest.mark.parametrize("key", INFINITE)
def test_what_may_be_infinite_may_be(needed, key):
    spec, name = NUMERIC[key]
    spec.parse(needed.get(spec.__name__, {}) | {name: math.inf})


@pytest.mark.parametrize("name", ["mask_offset", "taper", "blur_nm", "drift_nm", "ellipticity_deg"])
def test_what_is_nearly_known_is_known_or_not(name):
    spec, _ = NUMERIC[f"Nuisances.{name}"]
    spec.parse({name: 0.0})
    with pytest.raises(SpecError, match=rf"{name}.*0, or at least 1e-06"):
        spec.parse({name: 1e-300})


@pytest.mark.parametrize("field", ["aberration", "unmodeled"])
@pytest.mark.parametrize("waves", [5.0, 1e308])
def test_a_hidden_wavefront_beyond_range_is_refused(field, waves):
    strong = Wavefront(ModeSet.of([(2, 2)]), (waves,))
    given = {"aberration": strong} if field == "aberration" else {"aberration": ZERO, field: {"flatness": strong}}
    spec, _ = NUMERIC["HiddenWorld.bead_nm"]
    with pytest.raises(InputError, match="at most 2 can be served"):
        spec.parse(given)
