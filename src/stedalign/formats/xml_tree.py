"""XML inside of image files, which anybody can have written."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from stedalign.errors import InputError

LONGEST = 2**26
"""Characters of a description; that of a whole microscope has some 300,000."""


def parsed_xml(text: str) -> Element:
    """The root of a description. Raises ``InputError`` for entities, a few of which make gigabytes."""
    check_xml(text)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"its XML is damaged: {error}") from error


def check_xml(text: str) -> None:
    """Raise ``InputError`` for a text that is not safe to parse."""
    if len(text) > LONGEST:
        raise InputError(f"its description has {len(text)} characters, at most {LONGEST} are read")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("its description defines entities of its own (DOCTYPE), which no microscope does")
