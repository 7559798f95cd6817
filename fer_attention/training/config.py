"""What a training run is told, validated before it starts and saved beside its result."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fer_attention.models import ModelSpec
from fer_attention.registry import unknown_name


class AugmentConfig(BaseModel):
    """Random changes of each training image; zero turns one off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    rotate: float = Field(0.0, ge=0, le=180, description="largest rotation, degrees")
    translate: float = Field(0.0, ge=0, le=1, description="largest shift, in widths and heights")
    scale: float = Field(0.0, ge=0, lt=1, description="zoom by a factor from 1 - scale to 1 + scale")
    brightness: float = Field(0.0, ge=0, lt=1, description="factor from 1 - brightness to 1 + brightness")
    contrast: float = Field(0.0, ge=0, lt=1, description="factor from 1 - contrast to 1 + contrast")
    erase: float = Field(0.0, ge=0, le=1, description="probability of erasing a rectangle")


class TrainConfig(BaseModel):
    """One run: SGD with Nesterov momentum, one-cycle schedule, EMA of the weights.

    `model` names the model; `structure` holds further fields of its ModelSpec.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    structure: dict[str, Any] = {}
    epochs: int = Field(40, ge=1)
    batch_size: int = Field(128, ge=2)
    lr: float = Field(0.1, gt=0, description="peak of the one-cycle schedule")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, description="on weights of two dimensions or more only")
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    ema_decay: float = Field(0.998, ge=0, lt=1)
    warmup: float = Field(0.2, gt=0, lt=1, description="share of the schedule in which the rate rises")
    teacher: str | None = Field(None, description="weights whose probabilities soften the labels")
    teacher_weight: float = Field(0.5, ge=0, le=1, description="share of the teacher in the target")
    augment: AugmentConfig = AugmentConfig()
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int = 0
    keep_as: Literal["float32", "float16"] = Field("float32", description="type of the weights on disk")

    @model_validator(mode="after")
    def _model_exists(self) -> TrainConfig:
        self.spec()
        return self

    def spec(self, **fields: Any) -> ModelSpec:
        """The structure that the run trains."""
        return ModelSpec.parse(self.model, **{**self.structure, **fields})


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_recipe(name: str, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """A recipe of the package, with fields changed: `load_recipe("compact", {"augment": {"flip": 0}})`.

    Another model than the recipe's starts without the recipe's `structure`, which is made for its own.

    Raises:
        UnknownNameError: No recipe has this name.
        pydantic.ValidationError: A field is unknown or out of range (a ValueError).
    """
    if name not in recipe_names():
        raise unknown_name("recipe", name, recipe_names())
    text = (resources.files(__package__) / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    recipe, changes = yaml.safe_load(text), dict(changes or {})
    if changes.get("model", recipe["model"]) != recipe["model"]:
        recipe["structure"] = {}
    for field in ("structure", "augment"):
        changes[field] = {**recipe.get(field, {}), **changes.get(field, {})}
    return TrainConfig.model_validate({**recipe, **changes})
