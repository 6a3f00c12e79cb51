"""Rules of the source tree that no import contract can state; every exception stands here with its reason."""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "stedalign"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}

EVERYWHERE = {"numpy", "scipy", "torch", "pydantic"}
"""What the whole library is written in."""
CONFINED = {
    ("pydantic_core", "spec.py"): "what is wrong with a field is told as pydantic tells it",
    ("matplotlib", "reports/"): "drawing happens in reports alone",
    ("jaxtyping", "focusing/"): "array shapes are types in the numerical core",
    ("jaxtyping", "imaging/"): "and there",
    ("jaxtyping", "estimation/"): "and there",
    ("typer", "cli/"): "options and help belong to the command line",
    ("rich", "cli/"): "so do tables and progress bars",
    ("h5py", "dataset/"): "the format of datasets is the dataset's own",
    ("tifffile", "formats/"): "each file format is known in one place",
    ("obffile", "formats/imspector.py"): "so is this one, an extra",
    ("lightning", "training/"): "an extra, which an instrument's computer lacks",
    ("tomlkit", "config/"): "setups are written with their comments",
    ("tomlkit", "training/run_folder.py"): "a run writes down its configuration as it would be read again",
    ("safetensors", "networks/checkpoint.py"): "the format of weights is the checkpoint's own",
    ("PIL", "instrument/mask_files.py"): "masks for the vendors' software are BMP and PNG",
    ("PIL", "optics/pupil_maps.py"): "masks that users bring are gray images",
}
"""(third party, folder or file): why it may be imported there."""
LONG = {"estimation/fit.py fit": "the damped Gauss-Newton loop reads best from top to bottom"}
"""Functions that may be longer than a screen."""
IMPORTED_LATE = {"training/run.py": "Lightning is an extra: only a run imports what needs it, and says so without it"}
"""Files whose functions import modules of ours; commands and ``__getattr__`` do so to start fast."""


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that a piece of source imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def third_parties(name: str) -> set[str]:
    roots = {module.partition(".")[0] for module in imports(TREES[name])}
    return roots - sys.stdlib_module_names - EVERYWHERE - {"stedalign"}


def test_no_file_is_longer_than_400_lines_and_half_of_them_are_shorter_than_150():
    lengths = {name: len(text.splitlines()) for name, text in SOURCES.items()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert statistics.median(lengths.values()) < 150


def test_no_function_is_longer_than_60_lines():
    lengths = {
        f"{name} {function.name}": function.end_lineno - function.lineno + 1
        for name in SOURCES
        for function in functions(name)
    }
    assert {name for name, length in lengths.items() if length > 60} == LONG.keys()


def test_no_file_has_a_name_that_explains_nothing():
    names = {"utils", "util", "misc", "helpers", "helper", "common", "base", "core"}
    assert [name for name in SOURCES if Path(name).stem in names] == []


def test_third_parties_are_imported_only_where_they_belong():
    strays = {
        (party, name)
        for name in SOURCES
        for party in third_parties(name)
        if not any(party == confined and name.startswith(place) for confined, place in CONFINED)
    }
    assert strays == set()


@pytest.mark.parametrize(("party", "place"), CONFINED)
def test_no_exception_outlives_its_reason(party, place):
    assert any(party in third_parties(name) for name in SOURCES if name.startswith(place))


def test_modules_of_ours_are_imported_at_the_top():
    late = {
        name
        for name in SOURCES
        if not name.startswith("cli/")
        for function in functions(name)
        if function.name != "__getattr__" and any(module.startswith("stedalign") for module in imports(function))
    }
    assert late == IMPORTED_LATE.keys()


def test_heavy_imports_stay_inside_the_commands():
    heavy = {"torch", "numpy", "scipy", "matplotlib", "lightning", "h5py"}
    for name in SOURCES:
        if name.startswith("cli/"):
            at_the_top = {module.partition(".")[0] for node in TREES[name].body for module in top_imports(node)}
            assert at_the_top & heavy == set(), name


def top_imports(node: ast.stmt) -> Iterator[str]:
    """The modules that a statement of a module imports as the module is loaded."""
    return imports(node) if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else iter(())
