"""Array shapes are types: public functions of the numerical core say them, and the tests check what they say."""

import ast
import re
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from stedalign.estimation.bound import covariance, fisher_information
from stedalign.imaging.center_of_mass import center_of_mass_px

PACKAGE = Path(__file__).parents[1] / "src" / "stedalign"
FILES = [path for layer in ("focusing", "imaging", "estimation") for path in sorted((PACKAGE / layer).glob("*.py"))]


def public_annotations(path):
    """What the arguments and results of a file's public functions and methods are, as (function, annotation)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for node in (statement for scope in (tree, *classes) for statement in scope.body):
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            given = [argument.annotation for argument in arguments] + [node.returns]
            yield from ((node.name, ast.unparse(each)) for each in given if each is not None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_public_function_takes_or_returns_an_array_of_any_shape(path):
    shaped = r"(Float|Complex|Bool|Shaped)\[(Tensor|Floats|Complexes|NDArray\[Any\]), [^\]]*\]"
    bare = {
        name
        for name, annotation in public_annotations(path)
        if re.search(r"\b(Tensor|Floats|Complexes|NDArray)\b", re.sub(shaped, "", annotation))
    }
    assert bare == set()


@pytest.mark.parametrize(
    "call",
    [
        lambda: covariance(torch.ones(2, 3, 4)),
        lambda: fisher_information(torch.ones(2, 3, 16), torch.ones(1, 16)),
        lambda: center_of_mass_px(torch.ones(1, 3, 8, 9)),
        lambda: center_of_mass_px(torch.ones(1, 3, 8, 8, dtype=torch.int64)),
    ],
)
def test_what_does_not_fit_is_told_where_it_enters(call):
    with pytest.raises(TypeCheckError, match="checking the parameters of stedalign"):
        call()
