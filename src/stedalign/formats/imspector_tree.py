"""The tree of parameters that Imspector writes beside each stack: hardware (hwr) and measurement (doc)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from stedalign.formats.facts import Facts, Laser

SLM_DRIVER = "Hamamatsu SLM Driver"
SLM_PARTS = ("slm", "wavelength", "pattern_parameters", "pattern_offsets")
"""What is told of the modulator: panel, wavelength, the pattern shown, and what was added to it by hand."""
MEDIA = {"oil": "oil", "water": "water", "gly": "glycerol", "sil": "silicone", "dry": "air", "air": "air"}
"""Immersion media by how names of objectives abbreviate them."""


def facts_of_tree(root: Element) -> Facts:
    """What a tree tells. A document without stacks holds the measurement's branch alone."""
    measurement = root.find("doc")
    measurement = root if measurement is None else measurement
    hardware = root.find("hwr")
    objective = next((text for each in measurement.iterfind("*/light_path/objlens") if (text := each.text)), "")
    na = re.search(r"NA ?(\d\.\d+)", objective)
    medium = next((name for short, name in MEDIA.items() if short in objective.lower()), "")
    size, airy = (_number(measurement, f"Pinhole/{key}") for key in ("size_used", "size_used_au"))
    return Facts(
        software=f"Imspector {measurement.findtext('spec_version', '')}".strip(),
        objective=objective,
        na=float(na[1]) if na else None,
        immersion=medium,
        pinhole_um=None if size is None else 1e6 * size,
        pinhole_airy=airy,
        lasers=() if hardware is None else tuple(_lasers(hardware, measurement)),
        slm=dict(_slm(measurement) if hardware is None else [*_slm(hardware), *_slm(measurement)]),
    )


def _lasers(hardware: Element, measurement: Element) -> Iterator[Laser]:
    powers = {
        each.findtext("id"): _number(each, "power/calibrated")
        for each in measurement.iterfind("ExpControl/measurement/lasers/item")
    }
    for each in hardware.iterfind("ExpControl/devices/lasers/lasers/item"):
        wavelength = _number(each, "wavelength")
        if wavelength:
            yield Laser(each.findtext("name", ""), round(1e9 * wavelength, 6), powers.get(each.findtext("id")))


def _slm(branch: Element) -> Iterator[tuple[str, str]]:
    """The settings of the spatial light modulator, whose name differs between microscopes."""
    for device in branch:
        if device.findtext("prop_driver") == SLM_DRIVER:
            for part in SLM_PARTS:
                for each in device.iterfind(part):
                    yield from _leaves(each, part)


def _leaves(element: Element, path: str) -> Iterator[tuple[str, str]]:
    if not len(element):
        yield path, " ".join(_brief(word) for word in (element.text or "").split())
    for child in element:
        yield from _leaves(child, f"{path}/{child.tag}")


def _brief(word: str) -> str:
    """A number without the digits that it got in binary; anything else as it is."""
    try:
        return f"{float(word):g}" if "." in word else word
    except ValueError:
        return word


def _number(element: Element, path: str) -> float | None:
    try:
        return float(element.findtext(path, ""))
    except ValueError:
        return None
