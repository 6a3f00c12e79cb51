"""The origin's own parameter file: a dict of dicts as a Python literal or JSON."""

from __future__ import annotations

import ast
import json
import math
import warnings
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from stedalign.config.setup import Setup, SetupError
from stedalign.files import MOST_TEXT, check_plain

BEAMS = {"optical_params_sted": "depletion", "optical_params_gauss": "excitation"}
NUMERICAL = "numerical_params"
BEAM_KEYS = {
    "n": "immersion index",
    "NA": "numerical aperture",
    "f": "focal length, mm",
    "transmittance": "fraction",
    "lambda": "nm",
    "P_laser": "W",
    "rep_rate": "Hz",
    "pulse_length": "s",
    "obj_ba": "back aperture's diameter, mm",
    "offset": "of the mask against the back aperture, mm; one number or [x, y]",
}
NUMERICAL_KEYS = ("out_scrn_size", "z_extent", "out_res", "inp_res")
# px_size is the pitch of the original's display: it stands beside the optics there and changes nothing in them.
OPTIONAL_BEAM_KEYS = {"px_size"}


def setup_from_origin(path: Path | str, *, as_the_origin: bool = False) -> Setup:
    """Read ``optical_params_sted`` and ``optical_params_gauss`` (and optional numerical parameters).

    The objective is an aplanatic one of the ``NA``, or, ``as_the_origin`` computes, one that no lens is like but that
    gives the origin's own foci (``_lens_of_the_origin``).
    The half widths ``out_scrn_size`` and ``z_extent`` (um) and ``out_res`` give the sampling; ``inp_res``, the
    original's pupil grid, has no counterpart since the nodes follow from the accuracy asked for. The numerical
    ones may stand in a dict ``numerical_params`` or at the top. Raises ``SetupError``, one line.
    """
    path = Path(path)
    data = _literal(path)
    for name in BEAMS:
        if not isinstance(data.get(name), dict):
            raise SetupError(f"{path}: the dict '{name}' is missing")
    known = (*BEAMS, NUMERICAL, *NUMERICAL_KEYS)
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise SetupError(f"{path}: unknown key '{unknown[0]}'; known are {', '.join(known)}")
    beams = {name: _numbers(data[name], name, set(BEAM_KEYS), path) for name in BEAMS}
    numerical = data.get(NUMERICAL, {})
    if not isinstance(numerical, dict):
        raise SetupError(f"{path}: '{NUMERICAL}' must be a dict")
    numerical = numerical | {key: data[key] for key in NUMERICAL_KEYS if key in data}

    sted, gauss = beams["optical_params_sted"], beams["optical_params_gauss"]
    for key in ("n", "NA", "f", "obj_ba"):
        if sted[key] != gauss[key]:
            raise SetupError(f"{path}: the beams share one objective, but '{key}' is {sted[key]} and {gauss[key]}")
    # The excitation has no mask, whose offset is checked all the same.
    offset, _ = _offset(sted, path), _offset(gauss, path)
    setup: dict[str, Any] = {
        "objective": _lens_of_the_origin(sted) if as_the_origin else _aplanatic(sted),
        "depletion": _beam(sted) | {"pattern": {"kind": "vortex", "mask_offset": offset}},
        "excitation": _beam(gauss) | {"pattern": {"kind": "flat"}},
    }
    sampling = _sampling(numerical, path, gaps_less=1 if as_the_origin else 0)
    if sampling:
        setup["sampling"] = sampling
    return Setup.parse(setup, str(path))


def _literal(path: Path) -> dict[str, Any]:
    check_plain(path, MOST_TEXT)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SetupError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"{path}: not a text file in UTF-8") from error
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        try:
            # The compiler warns about odd literals, such as a Windows path in quotes.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise SetupError(f"{path}: neither JSON nor a Python dict of plain values") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise SetupError(f"{path}: a dict of dicts is expected, got {type(data).__name__}")
    return data


def _numbers(table: dict[str, Any], name: str, required: set[str], path: Path) -> dict[str, Any]:
    missing = sorted(required - set(table))
    if missing:
        raise SetupError(f"{path}: '{missing[0]}' ({BEAM_KEYS[missing[0]]}) is missing in '{name}'")
    unknown = sorted(map(str, set(table) - required - OPTIONAL_BEAM_KEYS))
    if unknown:
        raise SetupError(f"{path}: unknown key '{unknown[0]}' in '{name}'; known are {', '.join(BEAM_KEYS)}")
    for key in required - {"offset"}:
        if not _is_number(table[key]):
            raise SetupError(f"{path}: '{key}' in '{name}' must be a number, got {brief(table[key])}")
    for key in ("n", "f", "obj_ba"):
        if not table[key] > 0:
            raise SetupError(f"{path}: '{key}' in '{name}' must be positive, got {brief(table[key])}")
    return table


def _is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number that a float can hold; True and False are none."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _aplanatic(table: dict[str, Any]) -> dict[str, Any]:
    return {
        "na": table["NA"],
        "immersion_index": table["n"],
        "focal_length_mm": table["f"],
        "back_aperture_mm": table["obj_ba"],
    }


def _lens_of_the_origin(table: dict[str, Any]) -> dict[str, Any]:
    """The objective whose focus the origin computes: r = f tan(theta) up to the back aperture's edge, sqrt(cos(theta)).

    It takes f for the length in the medium, and its NA follows from the edge alone: 1.24 for its own numbers, not 1.4.
    """
    return {
        "na": table["n"] * math.sin(math.atan2(table["obj_ba"] / 2, table["f"])),
        "immersion_index": table["n"],
        "focal_length_mm": table["f"] / table["n"],
        "back_aperture_mm": table["obj_ba"],
        "mapping": "tangent",
        "apodization": "sqrt_cosine",
    }


def _beam(table: dict[str, Any]) -> dict[str, Any]:
    return {
        "wavelength_nm": table["lambda"],
        "power_w": table["P_laser"],
        "repetition_rate_hz": table["rep_rate"],
        "pulse_length_s": table["pulse_length"],
        "transmittance": table["transmittance"],
    }


def _offset(table: dict[str, Any], path: Path) -> list[float]:
    """The offset of the mask in pupil radii."""
    offset = table["offset"]
    pair = [offset, 0.0] if _is_number(offset) else offset
    if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_is_number, pair))):
        raise SetupError(f"{path}: 'offset' must be a number or [x, y] in mm, got {brief(offset)}")
    return [2 * float(value) / table["obj_ba"] for value in pair]


def _sampling(table: dict[str, Any], path: Path, *, gaps_less: int) -> dict[str, Any]:
    """The origin's samples stand on both edges of its field, with one gap less than there are samples."""
    unknown = sorted(map(str, set(table) - set(NUMERICAL_KEYS)))
    if unknown:
        raise SetupError(f"{path}: unknown key '{unknown[0]}' in '{NUMERICAL}'; known are {', '.join(NUMERICAL_KEYS)}")
    for key, value in table.items():
        if not _is_number(value) or not value > 0:
            raise SetupError(f"{path}: '{key}' must be a positive number, got {brief(value)}")
    default = Setup().sampling
    samples = table.get("out_res", default.samples)
    if samples != int(samples):
        raise SetupError(f"{path}: 'out_res' must be a whole number of samples, got {brief(samples)}")
    width, _, depth = (pixel * default.samples / 2000 for pixel in default.pixel_nm)
    gaps = max(1, samples - gaps_less)
    lateral = 2000 * table.get("out_scrn_size", width) / gaps
    axial = 2000 * table.get("z_extent", depth) / gaps
    return {"samples": samples, "pixel_nm": [lateral, lateral, axial]} if table else {}
