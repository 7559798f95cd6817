"""Read YAML files, and turn validation errors into messages: field, value given, value expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from fer_attention.os_errors import reason_of
from fer_attention.registry import unknown_name

M = TypeVar("M", bound=BaseModel)

_END = "'<stream end>'", "the end of the file"  # as PyYAML calls it


class _Loader(yaml.SafeLoader):
    """Loader that refuses duplicate fields, where PyYAML silently takes the last one."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    problem = f"the field {key.value!r} is given twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                names.add(key.value)
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the fields of a YAML (or JSON) file.

    Raises:
        ValueError: The file cannot be read, is not valid YAML, repeats a field or is not a mapping. The
            message names the file and the line.
    """
    try:
        fields = yaml.load(path.read_bytes(), _Loader)  # noqa: S506  (a SafeLoader)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {reason_of(error)}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = (getattr(error, "problem", None) or str(error).splitlines()[0]).replace(*_END)
        raise ValueError(f"{path} is not valid YAML: {position}{problem}.") from error
    if not isinstance(fields, dict):
        found = {list: "a list", type(None): "nothing"}.get(type(fields), "a single value")
        raise ValueError(f"{path} must hold named fields; got {found}.")
    return fields


def validate(model: type[M], fields: Mapping[str, Any], *, where: str) -> M:
    """Create a record from the fields of a file.

    Args:
        model: Class of the record.
        fields: The fields, as `read_yaml` returns them.
        where: Name of the file for the message.

    Raises:
        ValueError: Fields are unknown, missing or invalid; the message has one line for each.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, one['loc'])) or 'as a whole'}: {_reason(one, model)}"
            for one in _causes(error)
        ]
        raise ValueError(f"{where} cannot be used:\n" + "\n".join(lines)) from error


def _causes(error: ValidationError) -> list[Any]:
    """Return the errors that do not follow from another: a list is also too short without its bad item."""
    errors = error.errors()
    locations = [one["loc"] for one in errors]
    return [
        one
        for one in errors
        if one["type"] != "too_short"
        or not any(len(loc) > len(one["loc"]) and loc[: len(one["loc"])] == one["loc"] for loc in locations)
    ]


def _reason(error: Any, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        *parents, name = error["loc"]
        known = _model_at(model, parents).model_fields
        return str(unknown_name("field", name, known))
    if error["type"] == "missing":
        return "is missing."
    reason = error["msg"].removeprefix("Value error, ").rstrip(".")
    given = error.get("input")
    shown = isinstance(given, (dict, BaseModel)) or (error["type"] == "value_error" and repr(given) in reason)
    return f"{reason}." if shown else f"{reason}; got {given!r}."


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
