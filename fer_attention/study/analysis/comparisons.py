"""Levels against their baselines: families of paired tests, corrected together."""

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
    for family, effect in pairs.effects():
        for within, found in _differences(pairs, effect):
            names, levels = effect.names, within or {}
            where = label_of(levels, levels)
            label = ", ".join(filter(None, [f"{names['level']} - {names['baseline']}", where]))
            if (n := len(found.values)) < 2:
                problems.append(f"{label}: {n} pair(s) of runs, too few to compare.")
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
    """Pooled (None), then in each combination of the other factors; alone where there are none."""
    others = pairs.others(effect.factor)
    yield None, pairs.pooled(effect)
    for within in pairs.combinations(others) if others else ():
        yield within, pairs.differences(effect, within)


def best_conditions(pairs: Pairs, conditions: pd.DataFrame) -> pd.DataFrame:
    """The condition with the highest mean on each data set, and how many others may be as good.

    Among those with the most training images. Columns are those of `condition_table`, and `others` (compared
    with it over two common replications or more) and `alike` (not below it after Holm's correction; where all
    differences are equal nothing tells them apart).
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
    """Costs of each compared level over its baseline's, beside its gain in accuracy.

    Medians over pairs of conditions that differ in nothing else; data and fraction change the work and not
    the model, so they have no row.
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
