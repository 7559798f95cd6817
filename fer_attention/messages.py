"""Turn validation errors into messages: field, value given, value expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fer_attention.bounded import bounded, cut
from fer_attention.registry import unknown_name

M = TypeVar("M", bound=BaseModel)

MAX_ERRORS = 12
"""Errors of one file that a message lists."""


def validate(model: type[M], fields: Mapping[str, Any], *, where: str) -> M:
    """Create a record from the fields of a file.

    Args:
        model: Class of the record.
        fields: The fields, as `load_yaml` returns them.
        where: Name of the file for the message.

    Raises:
        ValueError: Fields are unknown, missing or invalid. The message has one line for each, at most
            `MAX_ERRORS` of them.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise ValueError(_readable(error, model, where)) from error


def _readable(error: ValidationError, model: type[BaseModel], where: str) -> str:
    causes = _causes(error)
    lines = [
        f"  {cut('.'.join(str(part) for part in one['loc'] if part != '[key]'), 100) or 'as a whole'}: "
        f"{_reason(one, model)}"
        for one in causes[:MAX_ERRORS]
    ]
    if len(causes) > MAX_ERRORS:
        lines.append(f"  and {len(causes) - MAX_ERRORS} more")
    return f"{cut(where)} cannot be used:\n" + "\n".join(lines)


def _causes(error: ValidationError) -> list[Any]:
    """Return the errors that do not follow from another: a list is also too short without its bad item."""
    errors = error.errors(include_url=False)
    parents = {one["loc"][:depth] for one in errors for depth in range(len(one["loc"]))}
    return [one for one in errors if one["type"] != "too_short" or one["loc"] not in parents]


def _reason(error: Any, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        *parents, name = error["loc"]
        known = _model_at(model, parents).model_fields
        return str(unknown_name("field", name, known))
    if error["type"] == "missing":
        return "is missing."
    reason = cut(error["msg"].removeprefix("Value error, ").rstrip("."), 500)
    given, shown = error.get("input"), bounded(error.get("input"))
    said = isinstance(given, (dict, BaseModel)) or (error["type"] == "value_error" and shown in reason)
    return f"{reason}." if said else f"{reason}; got {shown}."


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    """Return the pydantic model of the record at a path, through lists and mappings of records."""
    for step in path:
        if isinstance(step, str) and step in model.model_fields:
            model = _record_in(model.model_fields[step].annotation) or model
    return model


def _record_in(annotation: Any) -> type[BaseModel] | None:
    plain = get_origin(annotation) is None  # list[int] is a type to Python 3.10, but has no subclasses
    if plain and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _record_in(part))), None)
