"""Levels against their baselines: families of paired tests, corrected together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd

from fer_attention.study.analysis.pairs import Differences, Levels, Pairs
from fer_attention.study.analysis.runs import label_of
from fer_attention.study.analysis.statistics import holm, paired_test
from fer_attention.study.config import FACTORS, Comparison, Level, level_text

TESTED = ("p", "p_not_worse", "p_equivalent")


def comparisons(pairs: Pairs) -> tuple[pd.DataFrame, list[str]]:
    """One row for each comparison that has two pairs of runs; and what is missing and why.

    The columns are those of `PairedTest`, and:
    `family` (number of the question), `factor`, `level`, `baseline`, `label`;
    `pooled` (over all other factors) or `within` (the levels of the others, as text);
    `unpaired` (runs left out), `corrected` (whether training sets overlap);
    `p_holm`, while `p` is as tested; `p_not_worse` and `p_equivalent` are corrected in place (pooled and
    single comparisons of a family apart);
    `verdict`: `better` or `worse` (p_holm below alpha), else `equivalent`, else `not worse`, else
    `undecided`; the columns `equivalent` and `not_worse` say these by themselves.
    """
    rows, problems = [], []
    for family, question in enumerate(pairs.study.questions(), start=1):
        for level in question.levels or pairs.study.levels(question.factor):
            for within, found in _differences(pairs, question, level):
                row = _row(pairs, question, level, within, found)
                if row["n"] < 2:
                    problems.append(f"{row['label']}: {row['n']} pair(s) of runs, too few to compare.")
                else:
                    rows.append({"family": family, **row})
    frame = pd.DataFrame(rows)
    if len(frame):
        frame["p_holm"] = frame["p"]
        corrected = ["p_holm", *TESTED[1:]]
        frame[corrected] = frame.groupby(["family", "pooled"])[corrected].transform(holm)
        frame = with_verdicts(frame, alpha=pairs.study.alpha)
    return frame, problems


def _differences(
    pairs: Pairs, question: Comparison, level: Level
) -> Iterator[tuple[Levels | None, Differences]]:
    """Pooled (None), then in each combination of the other factors; alone where there are none."""
    if level == question.baseline:
        return
    others = pairs.others(question.factor)
    yield None, pairs.pooled(question.factor, level, question.baseline)
    for within in pairs.combinations(others) if others else ():
        yield within, pairs.differences(question.factor, level, question.baseline, within)


def _row(
    pairs: Pairs, question: Comparison, level: Level, within: Levels | None, found: Differences
) -> dict[str, Any]:
    study, factor = pairs.study, question.factor
    ours, theirs = level_text(factor, level), level_text(factor, question.baseline)
    others = label_of(within, within) if within else ""
    test = paired_test(found.values, margin=study.margin, alpha=study.alpha, overlap=found.overlap)
    return {
        "factor": factor,
        "level": ours,
        "baseline": theirs,
        "within": others,
        "pooled": within is None,
        "label": ", ".join(filter(None, [f"{ours} - {theirs}", others])),
        **asdict(test),
        "unpaired": found.unpaired,
        "corrected": found.overlap > 0,
    }


def with_verdicts(frame: pd.DataFrame, *, alpha: float) -> pd.DataFrame:
    """The columns `equivalent`, `not_worse` and `verdict`, from corrected p-values."""
    frame = frame.assign(
        equivalent=frame["p_equivalent"] < alpha, not_worse=frame["p_not_worse"] < alpha, verdict="undecided"
    )
    different = frame["p_holm"] < alpha
    for name, which in (
        ("not worse", frame["not_worse"]),
        ("equivalent", frame["equivalent"]),
        ("better", different & (frame["mean"] > 0)),
        ("worse", different & (frame["mean"] < 0)),
    ):
        frame.loc[which, "verdict"] = name
    return frame


def best_conditions(pairs: Pairs, conditions: pd.DataFrame) -> pd.DataFrame:
    """The condition with the highest mean on each data set, and how many others may be as good.

    Among those with the most training images. Columns are those of `condition_table`, and `others` (compared
    with it over two common replications or more) and `alike` (not below it after Holm's correction; where all
    differences are equal nothing tells them apart).
    """
    rows = []
    largest = conditions[conditions["fraction"] == conditions["fraction"].max()]
    for _, group in largest.groupby("data", sort=False):
        best = group.loc[group["accuracy"].idxmax()]
        within = {name: best[name] for name in pairs.varied}
        p = []
        for _, other in group.drop(best.name).iterrows():
            values = (pairs.accuracies(within) - pairs.accuracies(other)).dropna()
            overlap = pairs.overlap(values, {name: best[name] for name in pairs.varied if name == "data"})
            if len(values) > 1:
                p.append(paired_test(values, margin=1, alpha=pairs.study.alpha, overlap=overlap).p)
        if len(group) > 1:
            alike = int((~(holm(p) < pairs.study.alpha)).sum())
            rows.append({**best, "others": len(p), "alike": alike})
    return pd.DataFrame(rows)


def cost_ratios(pairs: Pairs, conditions: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Costs of each compared level over its baseline's, beside its gain in accuracy.

    Medians over pairs of conditions that differ in nothing else; data and fraction change the work and not
    the model, so they have no row.
    """
    costs = ["parameters", "macs", "train_seconds", "seconds_per_image", "latency_ms", "peak_memory_mb"]
    frame = conditions.assign(seconds_per_image=1 / conditions["images_per_second"])
    rows = []
    for question in pairs.study.questions():
        factor, others = question.factor, [name for name in FACTORS if name != question.factor]
        if factor in ("data", "fraction"):
            continue
        base = frame[frame[factor] == question.baseline]
        for level in question.levels or pairs.study.levels(factor):
            both = frame[frame[factor] == level].merge(base, on=others, suffixes=("", "_base"))
            if level != question.baseline and len(both):
                ratios = {one: (both[one] / both[f"{one}_base"]).median() for one in costs}
                names = level_text(factor, level), level_text(factor, question.baseline)
                rows.append(
                    {"factor": factor, "level": names[0], "baseline": names[1], "pairs": len(both), **ratios}
                )
    found = pd.DataFrame(rows)
    if not len(found) or not len(compared):
        return found
    gains = compared[compared["pooled"]][["factor", "level", "baseline", "mean", "low", "high"]]
    return found.merge(gains, on=["factor", "level", "baseline"], how="left")
