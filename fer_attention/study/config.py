"""What a study is told: a YAML file of factors, data, recipe, replications and the questions to test.

A file that cannot be run as it stands is refused as a whole, with one message, before anything is trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fer_attention.data import PROTOCOLS
from fer_attention.evaluation import VIEWS
from fer_attention.messages import readable
from fer_attention.models import ModelSpec
from fer_attention.plugins import STUDIES, register_studies
from fer_attention.registry import unknown_name

register_studies(Path(__file__).parent / "studies")

FACTORS = ("backbone", "attention", "activation", "data", "fraction", "setting")
"""What may vary between the conditions of a study, in the order in which tables show it."""

Factor = Literal["backbone", "attention", "activation", "data", "fraction", "setting"]
Source = Literal["initialisation", "order", "augmentation", "subset", "folds"]
Seed = Annotated[int, Field(ge=0)]
Level = str | float


def level_text(factor: str, level: Level) -> str:
    """A level for people: `20 % of train` for a fraction of 0.2."""
    return f"{float(level) * 100:g} % of train" if factor == "fraction" else str(level)


class StudyError(ValueError):
    """A study that cannot be planned, run or reported."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _named_once(kind: str, values: Any) -> None:
    if isinstance(values, (list, tuple)) and any(values.count(value) > 1 for value in values):
        raise ValueError(f"a {kind} is named twice in {list(values)}")


class Factors(_Record):
    """The levels of each factor; every combination is a condition."""

    backbone: tuple[str, ...] = Field(min_length=1)
    attention: tuple[str, ...] = Field(("none",), min_length=1)
    activation: tuple[str, ...] = Field(("relu",), min_length=1)
    fraction: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1)
    setting: dict[str, dict[str, Any]] = Field(
        {"default": {}}, min_length=1, description="named changes of the recipe: {r8: {structure: …}}"
    )

    @field_validator("backbone", "attention", "activation", "fraction", mode="before")
    @classmethod
    def _alone_or_several(cls, value: Any) -> Any:
        levels = [value] if isinstance(value, (str, int, float)) else value
        _named_once("level", levels)
        return levels

    @model_validator(mode="after")
    def _levels_exist(self) -> Factors:
        for backbone in self.backbone:
            ModelSpec(backbone)
        for attention in self.attention:
            ModelSpec(self.backbone[0], attention=attention)
        for activation in self.activation:
            ModelSpec(self.backbone[0], activation=activation)
        return self


class DataConfig(_Record):
    """One data set: how it is read and divided, and what the recipe changes on it."""

    path: Path | None = Field(None, description="where it lies, if the command does not say")
    format: str = Field("auto", description="layout, or `synthetic`: made up, in memory")
    options: dict[str, Any] = Field({}, description="of the reader: size, target, …")
    protocol: str = "official"
    protocol_options: dict[str, Any] = {}
    folds: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, min_length=1, description="which; by default all"
    )
    changes: dict[str, Any] = Field({}, description="fields of the recipe: {batch_size: 16}")

    @field_validator("protocol")
    @classmethod
    def _protocol_exists(cls, name: str) -> str:
        PROTOCOLS[name]
        return name

    @field_validator("folds", mode="before")
    @classmethod
    def _each_fold_once(cls, value: Any) -> Any:
        _named_once("fold", value)
        return value


class Replications(_Record):
    """How often each condition is run, and what differs between the runs.

    Sources that vary take the replication's seed, the others seed 0. The more of them vary, the better the
    mean over the replications stands for the method (Bouthillier et al. 2021, arXiv:2103.03098).
    """

    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1, description="a count, or the seeds themselves")
    vary: tuple[Source, ...] = Field(
        ("initialisation", "order", "augmentation"),
        description="subset: which images a fraction takes; folds: how a protocol divides at random",
    )

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_or_seeds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= 10_000:
                raise ValueError(f"a count of seeds is from 1 to 10000, got {value}; one seed is written [7]")
            return tuple(range(value))
        _named_once("seed", value)
        return value

    @field_validator("vary", mode="before")
    @classmethod
    def _each_source_once(cls, value: Any) -> Any:
        _named_once("source", value)
        return value

    @model_validator(mode="after")
    def _runs_differ(self) -> Replications:
        if len(self.seeds) > 1 and not self.vary:
            raise ValueError(f"vary names nothing, so the runs of {len(self.seeds)} seeds would be the same")
        return self

    def seed_of(self, source: Source, seed: int) -> int:
        """The seed of one source in the replication with this seed."""
        return seed if source in self.vary else 0


class Comparison(_Record):
    """A family of tests: levels of a factor against its baseline, all other factors equal."""

    factor: Factor
    baseline: Level
    levels: tuple[Level, ...] | None = Field(
        None, min_length=1, description="those compared; by default all others"
    )

    @field_validator("levels", mode="before")
    @classmethod
    def _each_level_once(cls, value: Any) -> Any:
        _named_once("level", value)
        return value


class Interaction(_Record):
    """Whether two factors' gains add up; each factor's first level is its baseline."""

    first: Factor = "attention"
    second: Factor = "activation"


class Budget(_Record):
    """What a study may take; `study plan` says where it would take more."""

    hours: float | None = Field(None, gt=0)
    disk_gb: float | None = Field(None, gt=0)


class StudyConfig(_Record):
    """A study. The fields of the file, validated."""

    title: str = Field(min_length=1)
    question: str = Field(min_length=1)
    factors: Factors
    data: dict[str, DataConfig] = Field(min_length=1)
    recipe: str = "quick"
    changes: dict[str, Any] = Field({}, description="fields of the recipe that all runs change")
    replications: Replications = Replications()
    tta: str = Field("none", description="test-time augmentation of the reported numbers")
    comparisons: tuple[Comparison, ...] = Field((), description="by default each factor's first level")
    interactions: tuple[Interaction, ...] = ()
    alpha: float = Field(0.05, gt=0, lt=0.5, description="level of the tests, and of 1 - confidence")
    margin: float = Field(0.005, gt=0, lt=1, description="a difference of accuracy too small to matter")
    statistics_images: int = Field(256, ge=0, description="validation images for the bias shift; 0: none")
    keep_weights: bool = False
    budget: Budget = Budget()

    @field_validator("tta")
    @classmethod
    def _views_exist(cls, name: str) -> str:
        VIEWS[name]
        return name

    @model_validator(mode="after")
    def _is_consistent(self) -> StudyConfig:
        for comparison in self.comparisons:
            factor, baseline = comparison.factor, comparison.baseline
            for level in (baseline, *(comparison.levels or ())):
                self._has_level(factor, level)
            if len(self.levels(factor)) < 2:
                raise ValueError(f"comparisons: {factor} has one level only, {baseline}")
            if baseline in (comparison.levels or ()):
                raise ValueError(f"comparisons: {factor} {baseline} cannot be compared with itself")
        for interaction in self.interactions:
            if interaction.first == interaction.second:
                raise ValueError(f"interactions: {interaction.first} cannot interact with itself")
            for factor in (interaction.first, interaction.second):
                if len(self.levels(factor)) < 2:
                    raise ValueError(f"interactions: {factor} has one level only, {self.levels(factor)[0]}")
        return self

    def _has_level(self, factor: Factor, level: Level) -> None:
        if level not in self.levels(factor):
            known = map(str, self.levels(factor))
            raise ValueError(f"comparisons: {unknown_name(f'level of {factor}', level, known)}")

    def levels(self, factor: str) -> tuple[Level, ...]:
        """The levels of a factor, in the file's order."""
        if factor == "data":
            return tuple(self.data)
        return tuple(getattr(self.factors, factor))

    def questions(self) -> tuple[Comparison, ...]:
        """The comparisons, those of the file or every varied factor's first level against its others."""
        return self.comparisons or tuple(
            Comparison(factor=factor, baseline=self.levels(factor)[0])
            for factor in FACTORS
            if len(self.levels(factor)) > 1
        )


class _StrictLoader(yaml.SafeLoader):
    """Plain YAML, but of a field that is there twice neither is silently dropped."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if key.value != "<<"]
        if twice := [name for name in names if names.count(name) > 1]:
            raise yaml.MarkedYAMLError(problem=f"{twice[0]} is named twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def study_names() -> list[str]:
    """The studies of this package and of plug-ins, sorted."""
    return list(STUDIES)


def load_study(name: str | Path) -> StudyConfig:
    """A study by its name, or a YAML file.

    Raises:
        UnknownNameError: No study has this name, and it is no file.
        StudyError: The file is absent, is no YAML, or holds what cannot be; the message names each field.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise StudyError(f"There is no study file {path}. By name there are: {', '.join(STUDIES)}.")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StudyError(f"{path} cannot be read: {error}") from error
    else:
        text = STUDIES[str(name)].read_text(encoding="utf-8")
    try:
        fields = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise StudyError(f"{name} is no YAML: {error}") from error
    if not isinstance(fields, dict):
        raise StudyError(f"{name} holds no fields, but {type(fields).__name__}.")
    try:
        return StudyConfig.model_validate(fields)
    except ValidationError as error:
        raise StudyError(readable(error, StudyConfig, where=str(name))) from error
