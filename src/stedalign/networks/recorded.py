"""Comparing what a file was made for with what it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from stedalign.imaging.forward import ForwardSpec
from stedalign.optics.spec import SpecError
from stedalign.optics.wavefront import ModeSet

LABEL_UNIT = "peak_waves"
"""The unit of the labels in datasets, and so of what the networks give."""


def differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """What two descriptions (nested tables) disagree in, as "key = value, ..." for each, or None."""
    then, now = (_leaves(json.loads(json.dumps(table))) for table in (recorded, asked))
    # A table on one side may be nothing on the other.
    both = then | now
    names = [name for name in both if name not in then or name not in now or then[name] != now[name]]
    if not names:
        return None
    first, second = (
        ", ".join(f"{_short(name, both)} = {values.get(name)}" for name in names) for values in (then, now)
    )
    return first, second


def optics_disagreement(
    recorded_spec: Mapping[str, Any], recorded_modes: ModeSet | None, forward: ForwardSpec, modes: ModeSet | None
) -> str | None:
    """One clause that names both values where a file was made for another optics, sampling or mode set.

    Descriptions are compared, not fingerprints: a key that a later version added has its default, which must mean
    what was before, so that older files stay good. ``modes`` None asks for none in particular.
    """
    try:
        recorded = ForwardSpec.parse(recorded_spec)
    except SpecError as error:
        return f"for optics that this version does not know ({error})"
    found = differences(recorded.picture, forward.picture)
    if found:
        return f"for {found[0]}, this setup has {found[1]}"
    if modes is not None and recorded_modes is None:
        return f"for the mask offset alone, this setup asks for the modes {modes}"
    if modes is not None and recorded_modes != modes:
        return f"for the modes {recorded_modes}, this setup has {modes}"
    return None


def _leaves(table: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested tables by their dotted names."""
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            leaves.update({f"{key}.{name}": inner for name, inner in _leaves(value).items()})
        else:
            leaves[key] = value
    return leaves


def _short(name: str, names: Iterable[str]) -> str:
    """The key itself, as it stands in a setup file, unless another table has one of the same name."""
    key = name.rpartition(".")[2]
    return key if [other.rpartition(".")[2] for other in names].count(key) == 1 else name
