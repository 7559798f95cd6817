"""Pydantic's errors as one message for people: field, what came, what was expected, the nearest name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fer_attention.registry import unknown_name


def readable(error: ValidationError, model: type[BaseModel], *, where: str) -> str:
    """All that is wrong in a file, one line for each field."""
    lines = [f"  {_field(one['loc'])}: {_reason(one, model)}" for one in _causes(error)]
    return f"{where} cannot be used:\n" + "\n".join(lines)


def _causes(error: ValidationError) -> list[Any]:
    """All errors but those that follow from another: a list is also too short without its wrong item."""
    errors = error.errors()
    places = [one["loc"] for one in errors]
    return [
        one
        for one in errors
        if one["type"] != "too_short"
        or not any(len(loc) > len(one["loc"]) and loc[: len(one["loc"])] == one["loc"] for loc in places)
    ]


def _field(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location)) or "as a whole"


def _reason(error: Any, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        *parents, name = error["loc"]
        known = _model_at(model, parents).model_fields
        return str(unknown_name("field", name, known))
    if error["type"] == "missing":
        return "is missing."
    reason = error["msg"].removeprefix("Value error, ").rstrip(".")
    given = error.get("input")
    said = isinstance(given, (dict, BaseModel)) or (error["type"] == "value_error" and repr(given) in reason)
    return f"{reason}." if said else f"{reason}; got {given!r}."


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    """The model of the record at a path, through lists and mappings of records."""
    for step in path:
        if isinstance(step, str) and step in model.model_fields:
            model = _record_in(model.model_fields[step].annotation) or model
    return model


def _record_in(annotation: Any) -> type[BaseModel] | None:
    plain = get_origin(annotation) is None  # list[int] is a type to Python 3.10, but has no subclasses
    if plain and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _record_in(part))), None)
