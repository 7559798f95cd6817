"""Configuration of a study: a YAML file of factors, data, recipe, replications and questions to test.

An invalid file is rejected with one message that lists all its errors, before anything is trained.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fer_attention.bounded import cut
from fer_attention.data import PROTOCOLS
from fer_attention.evaluation import VIEWS
from fer_attention.messages import validate
from fer_attention.plugins import STUDIES, register_studies
from fer_attention.registry import unknown_name
from fer_attention.study.factors import AttentionLevel, Factors, Fields, OneOrSeveral, Several, each_once
from fer_attention.yaml_files import load_yaml

register_studies(Path(__file__).parent / "studies")

Factor = Literal["backbone", "attention", "activation", "data", "fraction", "setting"]
Source = Literal["initialisation", "order", "augmentation", "subset", "folds"]
Level = str | float

FACTORS: tuple[Factor, ...] = get_args(Factor)
"""Factors that may vary between the conditions of a study, in the order of the tables."""

MAX_RUNS = 100_000


class StudyError(ValueError):
    """Error in planning, running or reporting a study.

    >>> try:
    ...     load_study("my_study.yaml")
    ... except StudyError as error:
    ...     print(str(error).split(". ")[0])
    There is no study file my_study.yaml
    """


def level_text(factor: str, level: Level) -> str:
    """Format a level: `20 % of train` for a fraction of 0.2."""
    return f"{float(level) * 100:g} % of train" if factor == "fraction" else str(level)


def _count_or_seeds(value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if not 1 <= value <= 10_000:
        raise ValueError(f"a count of seeds is from 1 to 10000, got {value}; a single seed is written [7]")
    return tuple(range(value))


def _name_in(known: Mapping[str, Any]) -> AfterValidator:
    def check(name: str) -> str:
        known[name]
        return name

    return AfterValidator(check)


class DataConfig(Fields):
    """One data set: its location, reader and protocol, and changes of the recipe.

    >>> DataConfig(protocol="subject_kfold", folds=[0, 1]).folds
    (0, 1)
    """

    path: Path | None = Field(None, description="location, unless the command gives one")
    data_format: str = Field("auto", description="layout, or `synthetic` for generated images")
    options: dict[str, Any] = Field({}, description="options of the reader: size, target, …")
    protocol: Annotated[str, _name_in(PROTOCOLS)] = "official"
    protocol_options: dict[str, Any] = {}
    folds: OneOrSeveral[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="folds to run; default: all"
    )
    changes: dict[str, Any] = Field({}, description="fields of the recipe: {batch_size: 16}")


class Replications(Fields):
    """Seeds of the replications, and the sources of randomness that they vary.

    Varied sources use the seed of the replication, all others seed 0. The more sources vary, the better the
    mean over the replications represents the method (Bouthillier et al. 2021, arXiv:2103.03098).

    >>> replications = Replications(seeds=3, vary=("order",))
    >>> replications.seeds, replications.seed_of("order", 2), replications.seed_of("initialisation", 2)
    ((0, 1, 2), 2, 0)
    """

    seeds: Annotated[Several[Annotated[int, Field(ge=0)]], BeforeValidator(_count_or_seeds)] = Field(
        (0, 1, 2), description="a count, or the seeds themselves"
    )
    vary: Annotated[tuple[Source, ...], AfterValidator(each_once)] = Field(
        ("initialisation", "order", "augmentation"),
        description="subset: the images of a fraction; folds: the random division by a protocol",
    )

    @model_validator(mode="after")
    def _runs_differ(self) -> Replications:
        if len(self.seeds) > 1 and not self.vary:
            raise ValueError(f"vary is empty, so the runs of {len(self.seeds)} seeds would be identical")
        return self

    def seed_of(self, source: Source, seed: int) -> int:
        """Return the seed of one source in the replication with this seed."""
        return seed if source in self.vary else 0


class Comparison(Fields):
    """Family of tests: levels of a factor against its baseline, all other factors equal.

    >>> Comparison(factor="attention", baseline="none", levels="se").levels
    ('se',)
    """

    factor: Factor
    baseline: Level
    levels: OneOrSeveral[Level] | None = Field(None, description="levels to compare; default: all others")


class Interaction(Fields):
    """Test for additivity of the gains of two factors; the first level of each is its baseline."""

    first: Factor = "attention"
    second: Factor = "activation"


class Budget(Fields):
    """Limits of a study; `study plan` warns if an estimate exceeds them."""

    hours: float | None = Field(None, gt=0)
    disk_gb: float | None = Field(None, gt=0)


class StudyConfig(Fields):
    """Configuration of a study: the validated fields of its file.

    >>> study = load_study("smoke")
    >>> study.levels("attention"), study.replications.seeds
    (('none', 'se', 'eca', 'cbam'), (0, 1, 2, 3, 4))
    """

    title: str = Field(min_length=1)
    question: str = Field(min_length=1)
    factors: Factors
    data: dict[str, DataConfig] = Field(min_length=1)
    recipe: str = "quick"
    changes: dict[str, Any] = Field({}, description="changes of the recipe in all runs")
    replications: Replications = Replications()
    tta: Annotated[str, _name_in(VIEWS)] = Field("none", description="test-time augmentation of the scores")
    comparisons: tuple[Comparison, ...] = Field((), description="default: each factor's first level")
    interactions: tuple[Interaction, ...] = ()
    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="significance level; intervals have a confidence of 1 - alpha"
    )
    margin: float = Field(0.005, gt=0, lt=1, description="difference in accuracy that is too small to matter")
    statistics_images: int = Field(256, ge=0, description="validation images for the bias shift; 0: none")
    keep_weights: bool = False
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _can_be_listed(self) -> StudyConfig:
        counts = [*(len(self.levels(factor)) for factor in FACTORS), len(self.replications.seeds)]
        if math.prod(counts) > MAX_RUNS:
            raise ValueError(
                f"the levels and seeds give {math.prod(counts)} runs; a study has at most {MAX_RUNS}"
            )
        return self

    @model_validator(mode="after")
    def _questions_have_answers(self) -> StudyConfig:
        pairs = [(pair.first, pair.second) for pair in self.interactions]
        for first, second in pairs:
            if first == second:
                raise ValueError(f"interactions: {first} cannot interact with itself")
        levels = {factor: frozenset(self.levels(factor)) for factor in FACTORS}
        for comparison in self.comparisons:
            factor, known = comparison.factor, levels[comparison.factor]
            for level in (comparison.baseline, *(comparison.levels or ())):
                if level not in known:
                    error = unknown_name(f"level of {factor}", level, map(str, known))
                    raise ValueError(f"comparisons: {error}")
            if comparison.baseline in (comparison.levels or ()):
                baseline = cut(str(comparison.baseline))
                raise ValueError(f"comparisons: {factor} {baseline} cannot be compared with itself")
        for factor in (*(one.factor for one in self.comparisons), *itertools.chain(*pairs)):
            if len(levels[factor]) < 2:
                only = cut(str(*levels[factor]))
                raise ValueError(f"{factor} has only one level, {only}: there is nothing to compare")
        return self

    def levels(self, factor: str) -> tuple[Level, ...]:
        """Return the levels of a factor, in the order of the file; those of attention by their labels."""
        if factor == "attention":
            return tuple(level.label for level in self.factors.attention)
        return tuple(self.data if factor == "data" else getattr(self.factors, factor))

    def attention(self, label: Level) -> AttentionLevel:
        """Return the level of attention with this label."""
        return next(level for level in self.factors.attention if level.label == label)

    def questions(self) -> tuple[Comparison, ...]:
        """Return the comparisons of the file, or by default of each varied factor with its first level."""
        return self.comparisons or tuple(
            Comparison(factor=factor, baseline=self.levels(factor)[0])
            for factor in FACTORS
            if len(self.levels(factor)) > 1
        )


def study_names() -> list[str]:
    """Return the names of the studies of this package and of plug-ins, sorted.

    >>> "smoke" in study_names()
    True
    """
    return list(STUDIES)


def load_study(name: str | Path) -> StudyConfig:
    """Load a study by its name or from a YAML file.

    >>> load_study("dry").title
    'A dry run on synthetic images'

    Raises:
        UnknownNameError: `name` is neither a known study nor a YAML file.
        StudyError: The file cannot be read, is not valid YAML or has invalid fields; the message names them.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = STUDIES[str(name)]
    if not path.exists():
        raise StudyError(f"There is no study file {path}. Studies by name: {', '.join(study_names())}.")
    try:
        return validate(StudyConfig, load_yaml(path), where=str(name))
    except ValueError as error:
        raise StudyError(str(error)) from error
