"""Read YAML files that anyone may have written: bounded, without code, with errors that name the file.

An alias (`*name`) repeats what it stands for, so a file of a few lines can describe billions of values. They
are counted before anything is constructed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from fer_attention.bounded import bounded, cut
from fer_attention.os_errors import reason_of

MAX_BYTES = 2_000_000
MAX_DEPTH = 50
MAX_REPEATED = 50_000
"""Values that the aliases of one file may stand for, all together."""

_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, with poorer messages
_END = "'<stream end>'", "the end of the file"  # as PyYAML calls it
_NOUNS: dict[type, str] = {list: "a list", type(None): "nothing"}


class _Constructor(SafeConstructor):
    """Constructor that refuses numbers that Python cannot print."""


def _whole_number(constructor: Any, node: Any) -> int:
    if len(node.value) > 40:
        raise ConstructorError(None, None, "a whole number has too many digits", node.start_mark)
    return int(constructor.construct_yaml_int(node))


_Constructor.add_constructor("tag:yaml.org,2002:int", _whole_number)


def load_yaml(path: str | os.PathLike[str], *, numbered: bool = False) -> dict[Any, Any]:
    """Read the fields of a YAML (or JSON) file; with `numbered`, their names may be whole numbers.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "recipe.yaml").write_text("epochs: 3")
    ...     load_yaml(f"{folder}/recipe.yaml")
    {'epochs': 3}

    Raises:
        ValueError: The file cannot be read, is too large, is not valid YAML, repeats a field or does not have
            named fields; the message names the file and the line.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {reason_of(error)}.") from error
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES // 10**6} MB: too large for settings.")
    fields = parse_yaml(content, where=str(path))
    if not isinstance(fields, dict):
        raise ValueError(f"{path} must hold named fields; got {_NOUNS.get(type(fields), 'a single value')}.")
    allowed = (str, int) if numbered else str
    if unnamed := [name for name in fields if not isinstance(name, allowed)]:
        raise ValueError(f"{path} must hold named fields; {bounded(unnamed[0])} is not a name.")
    return fields


def parse_yaml(text: str | bytes, *, where: str) -> Any:
    """Parse one YAML document; `where` names it in errors.

    >>> parse_yaml("[1, two]", where="--set")
    [1, 'two']

    Raises:
        ValueError: The text is not valid YAML, repeats a field, is nested too deeply, or its aliases stand
            for too many values.
    """
    try:
        try:
            return _parsed(text, _FAST)
        except yaml.YAMLError:
            if len(text) >= 20_000:
                raise
            return _parsed(text, yaml.SafeLoader)  # for its message
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = (getattr(error, "problem", None) or str(error).splitlines()[0]).replace(*_END)
        if "constructor for the tag" in problem:
            problem = f"the tag {problem.rpartition(' ')[2]} is not allowed; write plain values"
        raise ValueError(f"{where} is not valid YAML: {position}{cut(problem)}.") from error
    except (ValueError, OverflowError) as error:  # a date that does not exist, an integer that is none
        raise ValueError(f"{where} is not valid YAML: {cut(str(error))}.") from error


def _parsed(text: str | bytes, loader: Any) -> Any:
    _check_depth(text, loader)
    node = yaml.compose(text, Loader=loader)
    if node is None:
        return None
    _check_nodes(node)
    return _Constructor().construct_document(node)


def _check_depth(text: str | bytes, loader: Any) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} levels of nesting", problem_mark=mark)


def _check_nodes(root: yaml.Node) -> None:
    """Refuse a field that is given twice, where PyYAML takes the last one, and aliases without end."""
    sizes: dict[int, int] = {}  # values that a node stands for, by its identity; 0 while they are counted
    repeated = 0

    def size(node: yaml.Node) -> int:
        nonlocal repeated
        if id(node) in sizes:
            repeated += sizes[id(node)]
            if not sizes[id(node)] or repeated > MAX_REPEATED:
                problem = f"aliases stand for more than {MAX_REPEATED} values"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
            return sizes[id(node)]
        sizes[id(node)] = 0
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _check_names(node)
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        sizes[id(node)] = 1 + sum(map(size, children))
        return sizes[id(node)]

    size(root)


def _check_names(node: yaml.MappingNode) -> None:
    names = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in names:
                problem = f"the field {bounded(key.value)} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            names.add(key.value)
