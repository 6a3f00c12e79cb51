"""What a validated description looks like: frozen, complete, and closed to unknown keys."""

from __future__ import annotations

import difflib
import reprlib
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from stedalign.errors import InputError


class SpecError(InputError):
    """A description that cannot be: one line that names the key, the value and what is expected."""


class Spec(BaseModel):
    """A frozen description of one part of a microscope or of one job, checked on construction.

    Raises pydantic's ``ValidationError`` (a ``ValueError``) for a value out of range or an unknown key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, use_attribute_docstrings=True)

    @classmethod
    def parse(cls, data: Any, source: str = "") -> Self:
        """Validate plain data (of a TOML or JSON file); raises ``SpecError`` with one line that says what to do.

        ``source`` names the file in the message.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(": ".join(filter(None, (source, _first_problem(cls, error))))) from error


def _first_problem(spec: type[BaseModel], error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    *parents, key = problem["loc"] or ("",)
    table = spec
    for parent in parents:
        table = _table(table, str(parent)) or table
    where = f" in [{'.'.join(map(str, parents))}]" if parents else ""
    if problem["type"] == "extra_forbidden":
        known = sorted(table.model_fields)
        nearest = difflib.get_close_matches(str(key).lower(), known, n=1, cutoff=0.0)
        return f"unknown key '{key}'{where}; the nearest known key is '{nearest[0]}'"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{message} ([{'.'.join(map(str, problem['loc']))}])" if problem["loc"] else message
    return f"{key} = {reprlib.repr(problem['input'])}{where}: {message}"


def _table(spec: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The description that the field ``key`` of ``spec`` holds, if it holds one."""
    field = spec.model_fields.get(key)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
