"""Readable names of levels: "CBAM with open gates" for a level that the study calls `cbam-open`.

Sentences, printed tables and plots show them. Records and files of numbers have the study's own names.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pandas as pd

from fer_attention.activations import ACTIVATIONS
from fer_attention.attention.base import block_class
from fer_attention.study.analysis import StudyAnalysis
from fer_attention.study.analysis.runs import label_of, varied_factors
from fer_attention.study.config import FACTORS, Level, StudyConfig, level_text
from fer_attention.study.factors import AttentionLevel
from fer_attention.study.report.numbers import listed

FactorsOf = Callable[[Any], tuple[str, ...]]
"""Factors whose levels make up the label in a row of a table."""


def level_name(study: StudyConfig, factor: str, level: Level) -> str:
    """Return the readable name of a level.

    >>> from fer_attention.study import load_study
    >>> [level_name(load_study("open_gates"), "attention", level) for level in ("none", "half", "se-open")]
    ['no attention', 'a constant 1/2', 'SE with open gates']
    """
    if factor == "attention":
        return _attention_name(study.attention(level))
    if factor == "activation":
        return getattr(ACTIVATIONS[str(level)], "__name__", str(level))
    return level_text(factor, level)


def label_name(study: StudyConfig, factors: Mapping[Any, Any], names: Iterable[str]) -> str:
    """Join the readable names of the levels of some factors: `CBAM, ELU, 20 % of train`."""
    return ", ".join(level_name(study, name, factors[name]) for name in names)


def _attention_name(level: AttentionLevel) -> str:
    if level.name == "none":
        return "no attention"
    options = [
        f"{value} gates" if name == "start" else f"{name.replace('_', ' ')} {value}"
        for name, value in level.options.items()
    ]
    return " with ".join(
        [block_class(level.name).title or level.name, *([listed(options)] if options else [])]
    )


def renamed_levels(study: StudyConfig) -> list[tuple[str, str]]:
    """Pair the study's names of levels with the readable ones, where they differ."""
    levels = [(factor, level) for factor in FACTORS for level in study.levels(factor)]
    pairs = [(level_text(*one), level_name(study, *one)) for one in levels]
    return [(label, name) for label, name in pairs if label != name]


def with_readable_names(analysis: StudyAnalysis) -> StudyAnalysis:
    """Return the analysis with readable labels in its tables; columns of factors stay as they are."""
    study, varied = analysis.study, tuple(varied_factors(analysis.study))

    @cache
    def names(factors: tuple[str, ...]) -> dict[str, str]:
        levels = itertools.product(*(study.levels(factor) for factor in factors))
        combinations = [dict(zip(factors, one, strict=True)) for one in levels]
        return {label_of(one, factors): label_name(study, one, factors) for one in combinations}

    def renamed(frame: pd.DataFrame, **columns: FactorsOf) -> pd.DataFrame:
        rows = list(frame.itertuples())
        return frame.assign(
            **{
                column: [
                    names(factors(row)).get(label, label)
                    for row, label in zip(rows, frame[column], strict=True)
                ]
                for column, factors in columns.items()
                if column in frame
            }
        )

    def others(*factors: str) -> tuple[str, ...]:
        return tuple(factor for factor in varied if factor not in factors)

    def question(row: Any) -> tuple[str, str]:
        asked = study.interactions[row.question - 1]
        return asked.first, asked.second

    def all_varied(row: Any) -> tuple[str, ...]:
        return varied

    def of_row(row: Any) -> tuple[str, ...]:
        return (row.factor,)

    effects = {"level": of_row, "baseline": of_row}
    by_size = {**effects, "within": lambda row: others(row.factor, "fraction")}
    compared = renamed(analysis.comparisons, **effects, within=lambda row: others(row.factor))
    if len(compared):
        differences = compared["level"] + " vs. " + compared["baseline"]
        compared["label"] = differences.where(
            compared["within"] == "", differences + ", " + compared["within"]
        )
    return replace(
        analysis,
        runs=renamed(analysis.runs, condition=all_varied),
        conditions=renamed(analysis.conditions, condition=all_varied),
        best=renamed(analysis.best, condition=all_varied),
        comparisons=compared,
        interactions=renamed(analysis.interactions, within=lambda row: others(*question(row))),
        contrasts=renamed(
            analysis.contrasts,
            first=lambda row: question(row)[:1],
            second=lambda row: question(row)[1:],
            within=lambda row: others(*question(row)),
        ),
        slopes=renamed(analysis.slopes, **by_size),
        gains=renamed(analysis.gains, **by_size),
        costs=renamed(analysis.costs, **effects),
        bias=renamed(analysis.bias, activation=lambda row: ("activation",)),
    )
