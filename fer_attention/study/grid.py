"""Runs of a study: every condition × seed × fold, each with its own id."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from fer_attention.data import DataError, FaceDataset, Protocol, create_protocol, limit_training
from fer_attention.data.protocols import check_protocol
from fer_attention.messages import validate
from fer_attention.models import ModelSpec
from fer_attention.study.config import FACTORS, DataConfig, Level, Source, StudyConfig, StudyError, level_text
from fer_attention.training import RandomSource, TrainConfig, load_recipe
from fer_attention.training.checkpoint import FREE_FIELDS, file_digests

LATER_FIELDS = ("decay_gates", "targets", "gce_q", "gate_start")
"""Newer fields of the config: at their default they are not part of an id, so that older ids stay valid."""


@dataclass(frozen=True)
class RunSpec:
    """One run: a condition in one replication.

    >>> from fer_attention.study import load_study
    >>> expand(load_study("smoke"))[1].title
    'resnetv2_18_elu, fer2013, 20 % of train, seed 0, fold 0'

    Attributes:
        study: The study of the run.
        factors: Level of every factor.
        seed: Seed of the replication.
        fold: Number of the fold.
        config: Configuration of the training.
    """

    study: StudyConfig
    factors: Mapping[str, Level]
    seed: int
    fold: int
    config: TrainConfig

    @property
    def data_name(self) -> str:
        """Name of the data set."""
        return str(self.factors["data"])

    def seed_of(self, source: Source) -> int:
        """Return the seed of the replication for a varied source, else 0."""
        return self.study.replications.seed_of(source, self.seed)

    @property
    def id(self) -> str:
        """Hash of everything that the results depend on.

        Weights files count by their content. Neither their location nor that of the data is part of it.
        """
        data = self.study.data[self.data_name]
        factors = {name: level for name, level in self.factors.items() if name != "setting"}
        # the options of the block are in the config
        factors["attention"] = self.study.attention(self.factors["attention"]).name
        config = self.config.model_dump(mode="json", exclude=FREE_FIELDS)
        for name in LATER_FIELDS:
            if config[name] == TrainConfig.model_fields[name].default:
                del config[name]
        contents = file_digests(self.config)
        for name in ("weights", "backbone_weights"):
            config[name] = contents.get(config[name], config[name])
        config["teachers"] = [contents.get(teacher, teacher) for teacher in config["teachers"]]
        record = {
            "factors": factors,
            "fold": self.fold,
            "config": config,
            "data": data.model_dump(mode="json", exclude={"path", "folds", "changes"}),
            "seeds": [self.seed, self.seed_of("folds"), self.seed_of("subset")],
            "tta": self.study.tta,
            "statistics_images": self.study.statistics_images,
        }
        return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=8).hexdigest()

    @property
    def title(self) -> str:
        """Title such as `resnetv2_18_cbam_elu, fer2013, 20 % of train, seed 1, fold 0`."""
        parts = [self.config.model, self.data_name]
        if (attention := self.study.attention(self.factors["attention"])).label != attention.name:
            parts.append(attention.label)
        if self.factors["fraction"] != 1:
            parts.append(level_text("fraction", self.factors["fraction"]))
        if self.factors["setting"] != "default":
            parts.append(str(self.factors["setting"]))
        return ", ".join([*parts, f"seed {self.seed}", f"fold {self.fold}"])

    def protocol(self, data: FaceDataset) -> Protocol:
        """Return the folds of the data set; the run uses one of them.

        Raises:
            DataError: The data set lacks splits or subjects that the protocol needs.
        """
        return _create_protocol(self.study.data[self.data_name], data, self.seed_of("folds"))

    def crops(self, data: FaceDataset, protocol: Protocol) -> FaceDataset:
        """Return the images of this run, split into train (cut to its fraction), validation and test."""
        crops = protocol.fold(self.fold).apply(data)
        return limit_training(crops, float(self.factors["fraction"]), seed=self.seed_of("subset"))


def conditions(study: StudyConfig) -> list[dict[str, Level]]:
    """Return every combination of levels, in the order of the factors."""
    levels = [study.levels(factor) for factor in FACTORS]
    return [dict(zip(FACTORS, combination, strict=True)) for combination in itertools.product(*levels)]


def expand(study: StudyConfig, data: Mapping[str, FaceDataset] | None = None) -> list[RunSpec]:
    """Return all runs, one replication after the other, so that an interrupted study is balanced.

    >>> from fer_attention.study import load_study
    >>> len(expand(load_study("smoke")))  # 4 attentions × 2 activations × 5 seeds
    40

    Args:
        study: The study.
        data: Data sets by name. Without them, the folds of a protocol are those named in the file, or one.

    Raises:
        StudyError: A condition cannot be trained, or a data set cannot be divided as the study asks.
    """
    configs = [(factors, _config(study, factors)) for factors in conditions(study)]
    runs: dict[str, RunSpec] = {}
    for seed in study.replications.seeds:
        seeds = {source: study.replications.seed_of(source, seed) for source in get_args(RandomSource)}
        folds = {name: _folds(study, name, seed, data) for name in study.data}
        for turn, (factors, config) in itertools.product(range(max(map(len, folds.values()))), configs):
            numbers = folds[str(factors["data"])]
            if turn >= len(numbers):
                continue
            seeded = config.model_copy(update={"seed": seed, "seeds": seeds})
            run = RunSpec(study, factors, seed, numbers[turn], seeded)
            if (twin := runs.setdefault(run.id, run)) is not run:
                name = "setting" if twin.factors["setting"] != factors["setting"] else "attention"
                levels = f"{twin.factors[name]} and {factors[name]}"
                raise StudyError(f"The {name}s {levels} give the same run of {config.model}; remove one.")
    return list(runs.values())


def _config(study: StudyConfig, factors: dict[str, Level]) -> TrainConfig:
    """Return the recipe with all changes; structure and start of the gates come from the study only."""
    data, setting = study.data[str(factors["data"])], study.factors.setting[str(factors["setting"])]
    changes = _merged(_merged(study.changes, data.changes), setting)
    if taken := {"model", "seed", "seeds"} & set(changes):
        raise StudyError(f"{', '.join(sorted(taken))}: set by factors and replications, not by changes.")
    condition = ", ".join(f"{name} {level}" for name, level in factors.items())
    try:
        recipe = load_recipe(study.recipe).model_dump(exclude_unset=True, exclude={"structure", "gate_start"})
        attention = study.attention(factors["attention"])
        if attention.options:
            changes = _merged(changes, {"structure": {"attention_options": attention.options}})
        names: dict[str, Any] = {name: factors[name] for name in ("backbone", "activation")}
        given = {"model": ModelSpec(**names, attention=attention.name).name, "trackers": ()}
        return validate(TrainConfig, {**_merged(recipe, changes), **given}, where="the recipe")
    except (ValueError, TypeError) as error:
        raise StudyError(f"Cannot train {condition}: {error}") from error


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `second` into `first`, nested mappings field by field."""
    merged = dict(first)
    for name, value in second.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _create_protocol(config: DataConfig, data: FaceDataset, seed: int) -> Protocol:
    return create_protocol(config.protocol, data, seed=seed, **config.protocol_options)


def _folds(
    study: StudyConfig, name: str, seed: int, data: Mapping[str, FaceDataset] | None
) -> tuple[int, ...]:
    config = study.data[name]
    try:
        if data is None:
            check_protocol(config.protocol, max(config.folds or (0,)), **config.protocol_options)
            return config.folds or (0,)
        count = len(_create_protocol(config, data[name], study.replications.seed_of("folds", seed)).folds)
    except (DataError, TypeError) as error:
        raise StudyError(f"{name}: {error}") from error
    numbers = tuple(range(count)) if config.folds is None else config.folds
    if beyond := [number for number in numbers if number >= count]:
        raise StudyError(f"{name}: {config.protocol} has folds 0 to {count - 1}, not {beyond[0]}.")
    return numbers
