"""Read YAML files, and turn validation errors into messages: field, value given, value expected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from fer_attention.registry import unknown_name


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
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"{path} is not valid YAML: {position}{problem}.") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} must hold named fields; got {type(fields).__name__}.")
    return fields


def check_on_error(value: str) -> None:
    """Check that `on_error` is "raise" or "skip".

    Raises:
        ValueError: It is something else.
    """
    if value not in ("raise", "skip"):
        raise ValueError(f"on_error is 'raise' or 'skip'; got {value!r}.")


def readable(error: ValidationError, model: type[BaseModel], *, where: str) -> str:
    """Describe all validation errors of a file, one line per field."""
    lines = [
        f"  {'.'.join(map(str, one['loc'])) or 'as a whole'}: {_reason(one, model)}" for one in _causes(error)
    ]
    return f"{where} cannot be used:\n" + "\n".join(lines)


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
