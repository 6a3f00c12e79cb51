"""Descriptions from the time when every pattern had the keys of all kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stedalign.optics.patterns.registry import DEFAULT, pattern_class

OLD_KINDS = "vortex", "top_hat", "half_moon", "bivortex", "flat", "file"
OLD_KEYS = frozenset(
    {
        "charge",
        "ring_radius",
        "step_waves",
        "mask_offset",
        "mask_scale",
        "mask_rotation_deg",
        "file",
        "levels_per_2pi",
        "sha256",
    }
)
"""What stood in every pattern's table, whether it did anything there or not."""


def idle_keys(description: Mapping[str, Any], table: str = "") -> dict[str, list[str]]:
    """The old keys that do nothing for the kind of their pattern, by the dotted name of its table.

    ``description`` is plain data of any depth: a setup, or the optics that a file was made for.
    """
    idle: dict[str, list[str]] = {}
    for key, value in description.items():
        if not isinstance(value, Mapping):
            continue
        name = f"{table}.{key}" if table else str(key)
        idle |= idle_keys(value, name)
        kind = value.get("kind", DEFAULT)
        if key == "pattern" and kind in OLD_KINDS:
            keys = [key for key in value if key in OLD_KEYS and key not in pattern_class(kind).model_fields]
            idle |= {name: keys} if keys else {}
    return idle


def upgraded(description: Any) -> Any:
    """The same description less its idle keys, which says the same of the focus; what is no table is left as it is."""
    if not isinstance(description, Mapping):
        return description
    plain = _copied(description)
    for table, keys in idle_keys(description).items():
        place = plain
        for part in table.split("."):
            place = place[part]
        for key in keys:
            del place[key]
    return plain


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in table.items()}
