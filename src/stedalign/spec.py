"""What a validated description looks like: frozen, complete, and closed to unknown keys."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from stedalign.errors import InputError
from stedalign.ranges import LARGEST_SEED

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class SpecError(InputError):
    """A description that cannot be: one line that names the key, the value and what is expected."""


class Spec(BaseModel):
    """A frozen description of one part of a microscope or of one job, checked on construction.

    Raises pydantic's ``ValidationError`` (a ``ValueError``) for a value out of range or an unknown key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _takes_no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Pydantic reads true as 1.
        kinds = set(_kinds(cls.model_fields[str(info.field_name)].annotation))
        if _holds_truth(value) and kinds & {int, float} and bool not in kinds:
            raise PydanticCustomError("number_expected", "a number is expected, neither true nor false")
        return value

    @classmethod
    def parse(cls, data: Any, source: str = "") -> Self:
        """Validate plain data (of a TOML or JSON file); raises ``SpecError`` with one line that says what to do.

        ``source`` names the file in the message.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(": ".join(filter(None, (source, _first_problem(cls, error))))) from error


def or_infinite(most: float) -> AfterValidator:
    """For a field that takes numbers up to ``most``, and inf."""
    return _validator(lambda value: value <= most or value == float("inf"), f"at most {most:g}, or inf")


def zero_or(least: float) -> AfterValidator:
    """For a field in which 0 has a meaning of its own that what is nearly 0 would miss."""
    return _validator(lambda value: value == 0 or value >= least, f"0, or at least {least:g}")


def _validator(takes: Callable[[float], bool], words: str) -> AfterValidator:
    def check(value: float) -> float:
        if not takes(value):
            raise PydanticCustomError("out_of_range", "Input should be {words}", {"words": words})
        return value

    return AfterValidator(check)


def _first_problem(spec: type[BaseModel], error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    # The value tells which of several numbers it is.
    *parents, key = [part for part in problem["loc"] if isinstance(part, str)] or [""]
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


def _kinds(annotation: Any) -> Iterator[Any]:
    """An annotation and all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _holds_truth(value: Any) -> bool:
    """Whether a value, or one in a list, is true or false."""
    if isinstance(value, list | tuple):
        return any(map(_holds_truth, value))
    return isinstance(value, bool)


def _table(spec: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The description that the field ``key`` of ``spec`` holds, if it holds one."""
    field = spec.model_fields.get(key)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
