"""Comparisons of levels with their baselines: families of paired tests with Holm's correction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd

from fer_attention.study.analysis.pairs import Differences, Effect, Levels, Pairs
from fer_attention.study.analysis.runs import label_of
from fer_attention.study.analysis.statistics import holm
from fer_attention.study.config import FACTORS


def comparisons(pairs: Pairs) -> tuple[pd.DataFrame, list[str]]:
    """Test each comparison that has two pairs of runs or more.

    Returns:
        A table with one row per comparison, and a list of comparisons with too few runs. The columns are
        those of `PairedTest`, and:
        `family` (number of the question), `factor`, `level`, `baseline`, `label`;
        `pooled` (over all other factors) and `within` (levels of the other factors, as text);
        `unpaired` (number of excluded runs), `corrected` (true if training sets overlap);
        `p_holm`, the corrected `p`; `p_not_worse` and `p_equivalent` hold corrected values only. Pooled and
        single comparisons of a family are corrected separately;
        `verdict`: `better` or `worse` (p_holm below alpha), else `equivalent`, else `not worse`, else
        `undecided`; `equivalent` and `not_worse` hold these two decisions on their own.
    """
    rows, problems = [], []
    for family, effect in pairs.effects():
        for within, found in _differences(pairs, effect):
            names, levels = effect.names, within or {}
            where = label_of(levels, levels)
            label = ", ".join(filter(None, [f"{names['level']} - {names['baseline']}", where]))
            if (n := len(found.values)) < 2:
                problems.append(f"{label}: {n} pair(s) of runs, too few for a comparison.")
                continue
            rows.append(
                {
                    "family": family,
                    **names,
                    "within": where,
                    "pooled": within is None,
                    "label": label,
                    **asdict(pairs.test(found.values, levels)),
                    "unpaired": found.unpaired,
                    "corrected": pairs.overlap(found.values, levels) > 0,
                }
            )
    frame = pd.DataFrame(rows)
    if len(frame):
        corrected = ["p_holm", "p_not_worse", "p_equivalent"]
        frame["p_holm"] = frame["p"]
        frame[corrected] = frame.groupby(["family", "pooled"])[corrected].transform(holm)
        different, not_worse, equivalent = (frame[name] < pairs.study.alpha for name in corrected)
        frame["equivalent"], frame["not_worse"] = equivalent, not_worse
        frame["verdict"] = np.select(
            [different & (frame["mean"] > 0), different & (frame["mean"] < 0), equivalent, not_worse],
            ["better", "worse", "equivalent", "not worse"],
            "undecided",
        )
    return frame, problems


def _differences(pairs: Pairs, effect: Effect) -> Iterator[tuple[Levels | None, Differences]]:
    """Yield pooled differences (None), then those within each combination of the other factors, if any."""
    others = pairs.others(effect.factor)
    yield None, pairs.pooled(effect)
    for within in pairs.combinations(others) if others else ():
        yield within, pairs.differences(effect, within)


def best_conditions(pairs: Pairs, conditions: pd.DataFrame) -> pd.DataFrame:
    """Find the condition with the highest mean on each data set, among those with the most training images.

    Columns are those of `condition_table`, and the number of `others` (conditions that share two replications
    or more with the best one) and of those that are `alike` (not significantly different from it after Holm's
    correction, or without spread in the differences).
    """
    rows = []
    largest = conditions[conditions["fraction"] == conditions["fraction"].max()]
    for data, group in largest.groupby("data", sort=False):
        best = group.loc[group["accuracy"].idxmax()]
        own, p = pairs.accuracies(best), []
        for _, other in group.drop(best.name).iterrows():
            values = (own - pairs.accuracies(other)).dropna()
            if len(values) > 1:
                p.append(pairs.test(values, {"data": data}).p)
        if len(group) > 1:
            alike = int((~(holm(p) < pairs.study.alpha)).sum())
            rows.append({**best, "others": len(p), "alike": alike})
    return pd.DataFrame(rows)


def cost_ratios(pairs: Pairs, conditions: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Compute the costs of each compared level relative to its baseline, with its gain in accuracy.

    The ratios are medians over pairs of conditions that differ in nothing else. Data and fraction change the
    amount of work, not the model, and have no rows.
    """
    costs = ["parameters", "macs", "train_seconds", "seconds_per_image", "latency_ms", "peak_memory_mb"]
    frame = conditions.assign(seconds_per_image=1 / conditions["images_per_second"])
    rows = []
    for _, effect in pairs.effects():
        others = [name for name in FACTORS if name != effect.factor]
        ours, theirs = (frame[frame[effect.factor] == level] for level in effect[1:])
        both = ours.merge(theirs, on=others, suffixes=("", "_base"))
        if effect.factor not in ("data", "fraction") and len(both):
            ratios = {one: (both[one] / both[f"{one}_base"]).median() for one in costs}
            rows.append({**effect.names, "pairs": len(both), **ratios})
    found = pd.DataFrame(rows)
    if not len(found) or not len(compared):
        return found
    gains = compared[compared["pooled"]][["factor", "level", "baseline", "mean", "low", "high"]]
    return found.merge(gains, on=["factor", "level", "baseline"], how="left")
