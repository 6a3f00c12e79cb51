"""What patterns there are and which keys they have, in the words of their own files, for setups and docs."""

from __future__ import annotations

import inspect
import json
import textwrap

from stedalign.errors import InputError
from stedalign.optics.patterns import Pattern, known_kinds, pattern_class

PAGE = """\
# Patterns

A beam's pattern is the phase mask that shapes its focus: a table `[depletion.pattern]`, `[excitation.pattern]` or
`[depletion.overlay.pattern]` with a `kind` and the keys of that kind, here with their values where they are left out.
In Python each is a class of `stedalign.optics.patterns`.

A pattern of your own is one file with one class (copy `src/stedalign/optics/patterns/half_moon.py`). Its `kind` is
`package.module:Class`, or the name that an installed package gives it in the entry-point group `stedalign.patterns`.
Where its phase steps it says so with `rings` and `edges_rad`, since the focus is integrated between the steps.

This page is written by `stedalign.config.pattern_listing`, from the patterns' own files.
"""


def pattern_comment(pattern: Pattern) -> str:
    """What a pattern is, and which others there are: lines for the comment above its ``kind``."""
    lines = [f"{pattern.kind}: {_summary(type(pattern))}", "Others, with their keys:"]
    for kind in known_kinds():
        if kind == pattern.kind:
            continue
        try:
            other = pattern_class(kind)
        except InputError:
            # What a package offers and does not deliver is refused when it is asked for.
            continue
        keys = ", ".join(name for name in other.model_fields if name != "kind")
        lines += textwrap.wrap(f"{kind} ({keys or 'none'}): {_summary(other)}", 116, subsequent_indent="  ")
    return "\n".join([*lines, "package.module:Class: one of your own."])


def patterns_page() -> str:
    """The patterns of this package, as Markdown."""
    shipped = (pattern_class(kind) for kind in known_kinds())
    sections = [_section(pattern) for pattern in shipped if pattern.__module__.startswith("stedalign.")]
    return "\n".join([PAGE, *sections])


def _section(pattern: type[Pattern]) -> str:
    table = []
    for name, field in pattern.model_fields.items():
        if name != "kind":
            table += textwrap.wrap(field.description or "", 116, initial_indent="# ", subsequent_indent="# ")
        table.append(f"{name} = {json.dumps(field.default)}")
    title = f"## {pattern.model_fields['kind'].default}"
    return "\n".join([title, "", f"`{pattern.__name__}`. {inspect.getdoc(pattern)}", "", "```toml", *table, "```", ""])


def _summary(pattern: type[Pattern]) -> str:
    return (inspect.getdoc(pattern) or "").partition("\n")[0]
