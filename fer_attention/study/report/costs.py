"""What a level costs in comparison with its baseline, all other factors equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from fer_attention.study.config import FACTORS, Level
from fer_attention.study.results import Analysis, ConditionResult

COMPARED = ("backbone", "attention", "activation", "setting")
"""Factors that change what a model costs; data and fraction change the work instead."""


@dataclass(frozen=True)
class CostRatio:
    """Costs of a level over those of its baseline: medians over pairs of conditions.

    Attributes:
        factor: What is compared.
        level: Compared level.
        baseline: Its baseline.
        pairs: Pairs of conditions that differ in nothing else.
        parameters: Ratio of the parameters.
        macs: Ratio of the multiply-accumulates.
        train_seconds: Ratio of the time of a run; early stops are in it.
        seconds_per_image: Ratio of the time for a training image.
        latency_ms: Ratio of the time for one image.
        peak_memory_mb: Ratio of the memory; None where it was not measured.
    """

    factor: str
    level: Level
    baseline: Level
    pairs: int
    parameters: float
    macs: float
    train_seconds: float
    seconds_per_image: float
    latency_ms: float
    peak_memory_mb: float | None


def cost_ratios(analysis: Analysis) -> tuple[CostRatio, ...]:
    """For every level that the study compares; levels without a pair are left out."""
    found = []
    for question in analysis.study.questions():
        if question.factor not in COMPARED:
            continue
        others = [one for one in analysis.study.levels(question.factor) if one != question.baseline]
        for level in question.levels or others:
            pairs = matched(analysis, question.factor, level, question.baseline)
            if pairs:
                found.append(_ratio(question.factor, level, question.baseline, pairs))
    return tuple(found)


def matched(
    analysis: Analysis, factor: str, level: Level, baseline: Level
) -> list[tuple[ConditionResult, ConditionResult]]:
    """Pairs (with the level, with the baseline) that agree in all other factors."""

    def others(condition: ConditionResult) -> tuple[Level, ...]:
        return tuple(condition.factors[name] for name in FACTORS if name != factor)

    bases = {others(one): one for one in analysis.conditions if one.factors[factor] == baseline}
    return [
        (one, bases[others(one)])
        for one in analysis.conditions
        if one.factors[factor] == level and others(one) in bases
    ]


def _ratio(
    factor: str, level: Level, baseline: Level, pairs: list[tuple[ConditionResult, ConditionResult]]
) -> CostRatio:
    def ratio(cost: Callable[[ConditionResult], float]) -> float:
        return median(cost(one) / cost(base) for one, base in pairs)

    memory = [
        one.peak_memory_mb / base.peak_memory_mb
        for one, base in pairs
        if one.peak_memory_mb and base.peak_memory_mb
    ]
    return CostRatio(
        factor=factor,
        level=level,
        baseline=baseline,
        pairs=len(pairs),
        parameters=ratio(lambda one: one.parameters),
        macs=ratio(lambda one: one.macs),
        train_seconds=ratio(lambda one: one.train_seconds),
        seconds_per_image=ratio(lambda one: 1 / one.images_per_second),
        latency_ms=ratio(lambda one: one.latency_ms),
        peak_memory_mb=median(memory) if memory else None,
    )
