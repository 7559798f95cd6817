"""Factors of a study and their levels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from fer_attention.bounded import bounded, cut
from fer_attention.models import ModelSpec

T = TypeVar("T")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, (str, int, float, Mapping)) else value


def each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    """Check that no value appears twice."""
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"{cut(str(repeated[0]))} appears twice in {bounded(list(values))}")
    return values


Several = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(each_once)]
OneOrSeveral = Annotated[Several[T], BeforeValidator(_as_list)]


class Fields(BaseModel, frozen=True, extra="forbid"):
    """Base of the parts of a study: immutable, and without unknown fields."""


class AttentionLevel(Fields):
    """A level of the factor attention: a name, or a name with options of the block and a label.

    >>> AttentionLevel(name="se", options={"start": "open"}).label
    'se(start=open)'
    """

    name: str
    options: dict[str, Any] = {}
    label: str = Field("", description="name in the study and its CSV files; default: se(start=open)")

    @model_validator(mode="before")
    @classmethod
    def _from_a_name(cls, value: Any) -> Any:
        if not isinstance(value, (str, Mapping, AttentionLevel)):
            raise ValueError(
                f"a level is a name, or {{name: se, options: {{start: open}}}}; got {bounded(value)}"
            )
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_a_label(self) -> AttentionLevel:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        default = f"{self.name}({options})" if options else self.name
        object.__setattr__(self, "label", self.label or default)
        return self

    @model_serializer(mode="wrap")
    def _name_if_it_is_all(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.name if self.label == self.name and not self.options else handler(self)


def _each_label_once(levels: tuple[AttentionLevel, ...]) -> tuple[AttentionLevel, ...]:
    each_once(tuple(level.label for level in levels))
    return levels


class Factors(Fields):
    """Levels of each factor; every combination of levels is a condition.

    >>> Factors(backbone="resnet18", fraction=[0.1, 1]).fraction
    (0.1, 1.0)
    """

    backbone: OneOrSeveral[str]
    attention: Annotated[
        tuple[AttentionLevel, ...],
        Field(min_length=1),
        AfterValidator(_each_label_once),
        BeforeValidator(_as_list),
    ] = (AttentionLevel(name="none"),)
    activation: OneOrSeveral[str] = ("relu",)
    fraction: OneOrSeveral[Annotated[float, Field(gt=0, le=1)]] = (1.0,)
    setting: dict[str, dict[str, Any]] = Field(
        {"default": {}}, min_length=1, description="named changes of the recipe: {r8: {structure: …}}"
    )

    @model_validator(mode="after")
    def _levels_exist(self) -> Factors:
        for field in ("backbone", "activation"):
            for level in getattr(self, field):
                ModelSpec(**{"backbone": self.backbone[0], field: level})
        for level in self.attention:
            try:
                ModelSpec(self.backbone[0], attention=level.name, attention_options=level.options)
            except TypeError as error:  # an option that the block does not have
                raise ValueError(str(error)) from error
        return self
