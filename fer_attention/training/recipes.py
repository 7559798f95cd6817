"""Recipes: configs as YAML files, those of the package and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from fer_attention.models.bundled import weights_path
from fer_attention.models.weights import read_spec
from fer_attention.registry import unknown_name
from fer_attention.training.config import TrainConfig


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("fer_attention.training") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_recipe(name: str | Path, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """A recipe, with fields changed: `load_recipe("compact", {"augment": {"flip": 0}})`.

    Another model than the recipe's starts without the recipe's `structure`, which is made for its own; and
    `weights` to start from settle model and structure.

    Args:
        name: A recipe of the package, or a file: YAML, or the `config.json` of an earlier run.
        changes: Fields to replace; those of `structure` and `augment` one by one.

    Raises:
        UnknownNameError: No recipe has this name, and it is no file.
        ValueError: The file holds no fields.
        WeightsError: `weights` cannot be read.
        pydantic.ValidationError: A field is unknown or out of range (a ValueError).
    """
    recipe, changes = _read(name), dict(changes or {})
    if changes.get("model", recipe.get("model")) != recipe.get("model"):
        recipe["structure"] = {}
    if changes.get("weights") is not None:
        recipe |= {"structure": {}, "model": read_spec(weights_path(changes["weights"])).name}
    for field in ("structure", "augment"):
        if isinstance(changes.get(field, {}), Mapping):
            changes[field] = {**recipe.get(field, {}), **changes.get(field, {})}
    return TrainConfig.model_validate({**recipe, **changes})


def _read(name: str | Path) -> dict[str, Any]:
    path = Path(name)
    if path.suffix in (".yaml", ".yml", ".json"):
        if not path.is_file():
            raise ValueError(f"There is no recipe file {path}. The package's: {', '.join(recipe_names())}.")
        text = path.read_text(encoding="utf-8")
    elif str(name) in recipe_names():
        file = resources.files("fer_attention.training") / "recipes" / f"{name}.yaml"
        text = file.read_text(encoding="utf-8")
    else:
        raise unknown_name("recipe", str(name), recipe_names())
    try:
        recipe = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is no YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{name} holds no fields, but {type(recipe).__name__}.")
    return recipe
