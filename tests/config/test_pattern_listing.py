"""The page of patterns, and what a setup's comments say of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from stedalign.config import Setup
from stedalign.config.pattern_listing import patterns_page
from stedalign.optics.patterns import Flat, Vortex, known_kinds, parse_pattern

PAGE = Path(__file__).parents[2] / "docs" / "patterns.md"


def test_the_page_of_patterns_is_what_their_files_say():
    # Where this fails, write patterns_page() to docs/patterns.md.
    assert PAGE.read_text(encoding="utf-8") == patterns_page()


@pytest.mark.parametrize("kind", ["vortex", "top_hat", "half_moon", "bivortex", "flat"])
def test_what_the_page_shows_of_a_kind_is_its_default(kind):
    section = patterns_page().partition(f"## {kind}\n")[2]
    table = tomllib.loads(section.partition("```toml\n")[2].partition("```")[0])
    assert parse_pattern(table) == parse_pattern({"kind": kind})


def test_a_written_setup_has_the_keys_of_each_pattern_alone_and_names_the_other_kinds():
    text = Setup().to_toml()
    tables = tomllib.loads(text)
    assert set(tables["depletion"]["pattern"]) == set(Vortex.model_fields)
    assert tables["excitation"]["pattern"] == {"kind": "flat"} == Flat().model_dump()
    comments = text.partition("[depletion.pattern]")[2].partition('kind = "vortex"')[0]
    for kind in known_kinds():
        assert f"# {kind}" in comments
