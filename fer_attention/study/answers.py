"""What else a study answers: do gains add up, depend on size, hold over data sets; what is worth its cost."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from fer_attention.study.conditions import label_of
from fer_attention.study.config import Comparison, Factor, Interaction, Level
from fer_attention.study.matched import Levels, Matched, Replication
from fer_attention.study.results import (
    ConditionResult,
    InteractionResult,
    ParetoPoint,
    RankResult,
    SizeResult,
)
from fer_attention.study.statistics import factorial_analysis, friedman, pareto_front, size_curve

COSTS = ("parameters", "macs", "train_seconds", "latency_ms")


def interactions(matched: Matched, question: Interaction) -> Iterator[InteractionResult]:
    """Whether two factors' gains add up, within each combination of the others that has the runs for it."""
    first, second = question.first, question.second
    for within in matched.combinations(matched.others(first, second)):
        rows = [
            {
                first: levels[first],
                second: levels[second],
                "block": f"{one[0]}/{one[1]}",
                "value": value,
            }
            for levels in matched.combinations((first, second))
            for one, value in _accuracies(matched, {**within, **levels}).items()
        ]
        frame = pd.DataFrame(rows, columns=[first, second, "block", "value"])
        for name in (first, second):
            order = [level for level in matched.study.levels(name) if level in set(frame[name])]
            frame[name] = pd.Categorical(frame[name], categories=order, ordered=True)
        try:
            analysis = factorial_analysis(
                frame,
                first=first,
                second=second,
                block="block",
                margin=matched.study.margin,
                confidence=1 - matched.study.alpha,
            )
        except ValueError as error:
            where = label_of(within, within)
            matched.problems.append(f"{first} × {second}{f', {where}' if where else ''}: {error}")
            continue
        yield InteractionResult(question, within, analysis)
    matched.warn_of_folds(f"{first} × {second}")


def _accuracies(matched: Matched, levels: Levels) -> dict[Replication, float]:
    """Of one condition, by independent replications."""
    return matched.independent({one: run.test.accuracy for one, run in matched.runs(levels).items()})


def sizes(matched: Matched, question: Comparison) -> Iterator[SizeResult]:
    """Each level's gain against the number of training images, where the fraction varies."""
    if "fraction" not in matched.varied or question.factor == "fraction":
        return
    for level in question.levels or matched.study.levels(question.factor):
        if level != question.baseline:
            for within in matched.combinations(matched.others(question.factor, "fraction")):
                found = _size(matched, question, level, within)
                if found is not None:
                    yield found
    matched.warn_of_folds("Gain by number of images")


def _size(matched: Matched, question: Comparison, level: Level, within: Levels) -> SizeResult | None:
    """The pairs of each fraction, and a curve through their differences."""
    fractions = sorted(matched.study.levels("fraction"), key=float)
    steps = [matched.pairs(question, level, {**within, "fraction": one})[0] for one in fractions]
    steps = [pairs for pairs in steps if pairs]
    images = [round(statistics.fmean(one.run.data.train_images for one in step.values())) for step in steps]
    differences = [
        {one: float(np.subtract(*pair.accuracies)) for one, pair in step.items()} for step in steps
    ]
    gains = [matched.independent(one) for one in differences]
    replications = [replication for step in gains for replication in step]
    try:
        curve = size_curve(
            [size for size, step in zip(images, gains, strict=True) for _ in step],
            [gain for step in gains for gain in step.values()],
            replications=replications if len(set(replications)) > 1 else None,
            confidence=1 - matched.study.alpha,
        )
    except ValueError as error:
        where = label_of({question.factor: level, **within}, (question.factor, *within))
        matched.problems.append(f"Gain by number of images, {where}: {error}")
        return None
    return SizeResult(
        question.factor,
        level,
        question.baseline,
        within,
        tuple(images),
        tuple(tuple(step.values()) for step in gains),
        curve,
    )


def ranks(matched: Matched, factor: Factor) -> RankResult | None:
    """A factor's levels ranked on each data set, by accuracy averaged over everything else.

    Only combinations of the other factors and replications that all levels have are averaged: with others, a
    level that lacks a weak backbone's runs would rank too high.
    """
    if "data" not in matched.varied or factor == "data":
        return None
    levels = matched.study.levels(factor)
    scores = {}
    for name in matched.study.levels("data"):
        rows = list(_rows_of_all(matched, factor, {"data": name}))
        if rows:
            scores[str(name)] = [statistics.fmean(column) for column in zip(*rows, strict=True)]
    if len(scores) < 2:
        matched.problems.append(
            f"Ranks of {factor}: fewer than two data sets have matched runs of all levels."
        )
        return None
    return RankResult(
        factor, levels, tuple(scores), friedman(list(scores.values()), alpha=matched.study.alpha)
    )


def _rows_of_all(matched: Matched, factor: Factor, fixed: Levels) -> Iterator[list[float]]:
    """Accuracies of all levels, for each combination of the others and replication that all levels have."""
    for others in matched.combinations(matched.others(factor, *fixed)):
        by_level = [
            matched.runs({**others, **fixed, factor: level}) for level in matched.study.levels(factor)
        ]
        for replication in sorted(set.intersection(*(set(runs) for runs in by_level))):
            yield [runs[replication].test.accuracy for runs in by_level]


def trade_offs(conditions: Sequence[ConditionResult]) -> tuple[ParetoPoint, ...]:
    """Accuracy against each cost, within one data set, at the largest fraction."""
    most = max((float(one.factors["fraction"]) for one in conditions), default=1.0)
    points = []
    by_data: dict[str, list[ConditionResult]] = {}
    for one in conditions:
        if float(one.factors["fraction"]) == most:
            by_data.setdefault(str(one.factors["data"]), []).append(one)
    for group in by_data.values():
        values = [one.accuracy.mean for one in group]
        fronts = {cost: pareto_front([getattr(one, cost) for one in group], values) for cost in COSTS}
        points += [
            ParetoPoint(one, tuple(cost for cost in COSTS if fronts[cost][row]))
            for row, one in enumerate(group)
        ]
    return tuple(points)
