"""The metadata of OME-TIFF: what it tells of each image, and whether that can be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from stedalign.errors import InputError
from stedalign.formats.facts import Facts, Laser
from stedalign.formats.lengths import in_nm
from stedalign.formats.xml_tree import parsed_xml

SIMULATED = "SIMULATED"
"""How the description of a simulated image begins."""
MOST_PLANES = 2**16
"""Planes of a file."""


@dataclass(frozen=True)
class OmeImage:
    """What OME-XML tells of one image."""

    pixel_nm: dict[str, float]
    channels: tuple[str, ...]
    simulated: bool


def ome_images(root: Element) -> list[OmeImage]:
    """The images, in their order."""
    return [_image(image, pixels) for image in root.iterfind("{*}Image") for pixels in image.iterfind("{*}Pixels")]


def ome_facts(root: Element) -> Facts:
    """The microscope of the first image."""
    objective = root.find(".//{*}Objective")
    channels = root.findall(".//{*}Channel")
    waves = {
        in_nm(float(size), channel.get("ExcitationWavelengthUnit", "nm"))
        for channel in channels
        if (size := channel.get("ExcitationWavelength"))
    }
    facts = Facts(software=root.get("Creator", ""), lasers=tuple(Laser("", wave) for wave in sorted(waves)))
    if objective is None:
        return facts
    na = objective.get("LensNA")
    return Facts(
        software=facts.software,
        lasers=facts.lasers,
        objective=objective.get("Model", ""),
        na=float(na) if na else None,
        immersion=objective.get("Immersion", "").lower(),
    )


def checked_ome(text: str, path: Path) -> Element:
    """The root of the metadata of a file.

    Raises ``InputError`` where they name more planes than a file can have, or a file that does not lie beside it: a
    reader would make room for the former and open the latter.
    """
    root = parsed_xml(text)
    for count in _counts(root):
        if not 0 <= count <= MOST_PLANES:
            raise InputError(f"its OME metadata tell of {count:.3g} planes, at most {MOST_PLANES} are read")
    for element in root.iterfind(".//{*}UUID"):
        name = element.get("FileName")
        other = path.parent / (name or path.name)
        if name and (Path(name).name != name or (other.exists() and not other.is_file())):
            raise InputError(f"its OME metadata name {name!r}, which is no file beside it")
    return root


def _counts(root: Element) -> Iterator[float]:
    """All numbers of planes in the metadata."""
    for pixels in root.iterfind(".//{*}Pixels"):
        yield math.prod(int(pixels.get(f"Size{axis}", "1")) for axis in "ZCT")
        for data in pixels.iterfind("{*}TiffData"):
            yield from (int(data.get(key, "0")) for key in ("PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT"))
    for element in root.iter():
        if "ModuloAlong" in element.tag and element.get("Start") is not None:
            start, end, step = (float(element.get(key, "1")) for key in ("Start", "End", "Step"))
            yield (end - start) / step if step else math.inf


def _image(image: Element, pixels: Element) -> OmeImage:
    described = image.find("{*}Description")
    sizes = {
        axis: in_nm(float(size), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "XYZ"
        if (size := pixels.get(f"PhysicalSize{axis}"))
    }
    return OmeImage(
        pixel_nm=sizes,
        channels=tuple(channel.get("Name", "") for channel in pixels.iterfind("{*}Channel")),
        simulated=described is not None and (described.text or "").startswith(SIMULATED),
    )
