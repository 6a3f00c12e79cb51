"""What a validated description looks like: frozen, complete, and closed to unknown keys."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen description of one part of a microscope or of one job, checked on construction.

    Raises pydantic's ``ValidationError`` (a ``ValueError``) for a value out of range or an unknown key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, use_attribute_docstrings=True)
