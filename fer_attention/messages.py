"""YAML files as fields, and what is wrong in them as one message: field, what came, what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from fer_attention.registry import unknown_name


class _Loader(yaml.SafeLoader):
    """Refuses a field that is there twice, of which PyYAML would keep the last."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    problem = f"the field {key.value!r} is there twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                names.add(key.value)
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """The fields of a YAML file, or of JSON, which is YAML too.

    Raises:
        ValueError: The file cannot be read, is not valid YAML, has a field twice or is not a mapping; the
            message names the file and the line.
    """
    try:
        fields = yaml.load(path.read_bytes(), _Loader)  # noqa: S506  (a SafeLoader)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"{path} is not valid YAML: {place}{problem}.") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} holds no fields, but {type(fields).__name__}.")
    return fields


def check_on_error(value: str) -> None:
    """Check that `on_error` is "raise" or "skip".

    Raises:
        ValueError: It is something else.
    """
    if value not in ("raise", "skip"):
        raise ValueError(f"on_error is 'raise' or 'skip'; got {value!r}.")


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
