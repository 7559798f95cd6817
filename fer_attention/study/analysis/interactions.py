"""Does a gain depend on another factor, or on the number of training images?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from fer_attention.study.analysis.pairs import Effect, Levels, Pairs, by_seed, matched
from fer_attention.study.analysis.runs import label_of
from fer_attention.study.analysis.statistics import InteractionTest, holm, interaction_test
from fer_attention.study.config import Interaction, level_text


def interactions(pairs: Pairs) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Do two factors' gains add up?

    Returns:
        F tests, one row for each question and combination of the other factors (`question`, `first`,
        `second`, `within` and the fields of `InteractionTest`); contrasts (see `_contrasts`); what is missing
        and why.
    """
    tests, contrasts, problems = [], [], []
    for number, question in enumerate(pairs.study.interactions, start=1):
        for within in pairs.combinations(pairs.others(question.first, question.second)):
            where = label_of(within, within)
            names = {"first": question.first, "second": question.second, "within": where}
            frame = pd.DataFrame(_contrasts(pairs, question, within))
            if not len(frame):
                title = ", ".join(filter(None, [f"{question.first} × {question.second}", where]))
                problems.append(f"{title}: too few replications have the four runs of a contrast.")
                continue
            frame[["p_holm", "p_equivalent"]] = frame[["p", "p_equivalent"]].apply(holm)
            different, additive = (frame[p] < pairs.study.alpha for p in ("p_holm", "p_equivalent"))
            frame["verdict"] = np.select(
                [different & (frame["mean"] > 0), different & (frame["mean"] < 0), additive],
                ["synergistic", "antagonistic", "additive"],
                "undecided",
            )
            contrasts.append(frame.assign(question=number, within=where))
            tests.append({"question": number, **names, **asdict(_overall(pairs, question, within))})
    return pd.DataFrame(tests), pd.concat(contrasts) if contrasts else pd.DataFrame(), problems


def _contrasts(pairs: Pairs, question: Interaction, within: Levels) -> Iterator[dict[str, Any]]:
    """[(A, B) - (A, base B)] - [(base A, B) - (base A, base B)] for all levels A and B over the baselines.

    A factor's first level is its baseline. `verdict` is `synergistic` or `antagonistic` where the contrast
    is above or below 0, `additive` where it is within plus and minus the margin, else `undecided`; all by
    p-values that are corrected (Holm) over the contrasts.
    """
    (base_a, *levels_a), (base_b, *levels_b) = map(pairs.study.levels, (question.first, question.second))
    for a, b in itertools.product(levels_a, levels_b):
        effect = Effect(question.first, a, base_a)
        gains = [pairs.differences(effect, {**within, question.second: one}).values for one in (b, base_b)]
        table, _ = matched(gains, across_data="data" in (question.first, question.second))
        values = table[0] - table[1]
        if len(values) > 1:
            yield {
                "first": level_text(question.first, a),
                "second": level_text(question.second, b),
                "first_baseline": level_text(question.first, base_a),
                "second_baseline": level_text(question.second, base_b),
                **asdict(pairs.test(values, within)),
            }


def _overall(pairs: Pairs, question: Interaction, within: Levels) -> InteractionTest:
    """The F test over seeds, folds averaged within each: folds of one set are not independent blocks."""
    rows = [
        {
            "first": str(levels[question.first]),
            "second": str(levels[question.second]),
            "block": seed,
            "value": value,
        }
        for levels in pairs.combinations((question.first, question.second))
        for (seed, _), value in by_seed(pairs.accuracies({**within, **levels})).items()
    ]
    return interaction_test(pd.DataFrame(rows, columns=["first", "second", "block", "value"]))


def size_effects(pairs: Pairs) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Does a gain depend on the number of training images?

    A line of the gain on log2 of the number is fitted to each replication, and the mean of the slopes is
    tested over the replications: gains that share a seed are not independent, their slopes are (Frison and
    Pocock 1992, doi 10.1002/sim.4780111304).

    Returns:
        Slopes, one row for each level and combination of the other factors (`p_holm` over a question);
        gains, one row for each pair of runs with its number of `images`; what is missing and why.
    """
    slopes, gains, problems = [], [], []
    for family, effect in pairs.effects():
        if "fraction" not in pairs.varied or effect.factor == "fraction":
            continue
        for within in pairs.combinations(pairs.others(effect.factor, "fraction")):
            found = _gains(pairs, effect, within)
            names = {"family": family, **effect.names, "within": label_of(within, within)}
            lines = fitted_lines(found)
            if len(lines) < 2:
                problems.append(
                    f"{names['level']} by number of images: {len(lines)} replication(s) have runs at two "
                    "sizes, too few to test."
                )
                continue
            sizes = {"least": found["images"].min(), "most": found["images"].max()}
            slopes.append({**names, **asdict(pairs.test(lines["slope"], within)), **sizes})
            gains.append(found.assign(**names))
    frame = pd.DataFrame(slopes)
    if len(frame):
        frame["p_holm"] = frame.groupby("family")["p"].transform(holm)
        frame = frame.drop(columns=["p_not_worse", "p_equivalent", "needed", "detectable"])
    return frame, pd.concat(gains) if gains else pd.DataFrame(), problems


def _gains(pairs: Pairs, effect: Effect, within: Levels) -> pd.DataFrame:
    """Gains by fraction and replication, with the mean number of training images of the fraction."""
    parts = []
    for fraction in sorted(pairs.study.levels("fraction"), key=float):
        levels = {**within, "fraction": fraction}
        values = pairs.differences(effect, levels).values
        images = round(pairs.runs_with(levels)["train_images"].mean()) if len(values) else 0
        parts.append(values.rename("gain").reset_index().assign(images=images))
    return pd.concat(parts)


def fitted_lines(gains: pd.DataFrame) -> pd.DataFrame:
    """`intercept` and `slope` of the gain on log2 of `images`, for each replication with two sizes."""
    lines = {
        replication: np.polyfit(np.log2(group["images"].to_numpy(dtype=float)), group["gain"], 1)
        for replication, group in gains.groupby(["seed", "fold"])
        if group["images"].nunique() > 1
    }
    index = pd.MultiIndex.from_tuples(lines, names=["seed", "fold"]) if lines else None
    return pd.DataFrame([line[::-1] for line in lines.values()], columns=["intercept", "slope"], index=index)
