"""Recipes: training configs in YAML files, bundled or the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_attention.messages import validate
from fer_attention.models import ModelSpec, read_metadata
from fer_attention.models.bundled import weights_path
from fer_attention.plugins import RECIPES, register_recipes
from fer_attention.registry import UnknownNameError
from fer_attention.training.config import TrainConfig
from fer_attention.yaml_files import load_yaml

register_recipes(Path(__file__).parent / "recipes")


def recipe_names() -> list[str]:
    """Return the names of the recipes of this package and of plug-ins, sorted.

    >>> recipe_names()
    ['compact', 'finetune', 'paper', 'quick', 'robust', 'speedrun', 'strong']
    """
    return list(RECIPES)


def load_recipe(name: str | Path, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """Load a recipe and change some of its fields.

    If `changes` names another model, it gets the recipe's width, stem and other fields of `structure` that it
    has, and new weights. `weights` among the changes determine model and structure.

    >>> config = load_recipe("quick", {"epochs": 3, "augment": {"flip": 0}})
    >>> config.epochs, config.augment.flip, config.augment.rotate
    (3, 0.0, 10.0)

    Args:
        name: Name of a recipe, or a file: YAML, or the `config.json` of an earlier run.
        changes: Fields to replace; those of `structure`, `augment` and `augment.degrade` one by one. None
            removes a degradation.

    Raises:
        UnknownNameError: There is no recipe of this name.
        ValueError: The file cannot be read or is not a mapping, a field is unknown or out of range, or a
            change has no effect.
        WeightsError: `weights` cannot be read.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml", ".json"):
        path = RECIPES[str(name)]
    elif not path.is_file():
        raise ValueError(f"There is no recipe file {path}. Recipes by name: {', '.join(RECIPES)}.")
    recipe, given, changes = load_yaml(path), changes, dict(changes or {})
    if changes.get("model", recipe.get("model")) != recipe.get("model"):
        recipe |= {"structure": _structure_for(changes["model"], recipe), "weights": None}
    weights = changes.get("weights", recipe.get("weights"))
    if isinstance(weights, str) and os.path.isfile(file := _weights_file(weights, name)):
        model = {"model": read_metadata(file).spec.name}
        recipe = {**recipe, **model} if changes.get("weights") else {**model, **recipe}
    if changes.get("weights") is not None:
        recipe["structure"] = {}
    if isinstance(changes.get("augment"), Mapping) and isinstance(changes["augment"].get("degrade"), Mapping):
        former = _mapping(_mapping(recipe.get("augment")).get("degrade"))
        degrade = _merged(former, changes["augment"]["degrade"])
        changes["augment"] = {**changes["augment"], "degrade": degrade}
    for field in ("structure", "augment"):
        former = recipe.get(field, {})
        if not isinstance(former, Mapping):  # which validation refuses
            changes.pop(field, None)
        elif isinstance(changes.get(field, {}), Mapping):
            changes[field] = {**former, **changes.get(field, {})}
    where = f"The recipe {name}{' with these changes' if given else ''}"
    config = validate(TrainConfig, {**recipe, **changes}, where=where)
    if idle := config.idle(given or {}):
        raise ValueError(f"The recipe {name} with these changes: {idle}")
    return config


def _structure_for(model: Any, recipe: Mapping[str, Any]) -> Any:
    """Return the recipe's structure without options of its attention block and fields that `model` lacks."""
    structure = recipe.get("structure", {})
    if not isinstance(structure, Mapping):
        return structure  # validation says what is wrong
    try:
        new, own = (ModelSpec.parse(str(name)) for name in (model, recipe.get("model")))
    except ValueError:
        return structure

    def lacks(spec: ModelSpec, field: str) -> bool:
        try:
            replace(spec, **{field: structure[field]})
        except (ValueError, TypeError):
            return True
        return False

    foreign = {field for field in structure if lacks(new, field) and not lacks(own, field)}
    if new.attention != own.attention:
        foreign.add("attention_options")
    return {field: value for field, value in structure.items() if field not in foreign}


def _weights_file(weights: str, recipe: str | Path) -> Path:
    try:
        return weights_path(weights)
    except UnknownNameError as error:
        raise UnknownNameError(f"The recipe {recipe}: {error}") from error


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def _merged(former: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge degradations field by field; None removes one."""
    merged = dict(former)
    for name, fields in changes.items():
        merged[name] = {**_mapping(former.get(name)), **fields} if isinstance(fields, Mapping) else fields
    return {name: fields for name, fields in merged.items() if fields is not None}
