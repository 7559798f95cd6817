"""Dependence of a gain on another factor, or on the number of training images."""

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
    """Test whether the gains of two factors add up.

    Returns:
        F tests, with one row for each question and combination of the other factors (`question`, `first`,
        `second`, `within` and the fields of `InteractionTest`); contrasts (see `_contrasts`), with a
        Holm-corrected `verdict`: `synergistic` (above 0), `antagonistic` (below 0), `additive` (within the
        margin) or `undecided`; a list of questions with too few runs.
    """
    tests, contrasts, problems = [], [], []
    for number, question in enumerate(pairs.study.interactions, start=1):
        for within in pairs.combinations(pairs.others(question.first, question.second)):
            where = label_of(within, within)
            names = {"first": question.first, "second": question.second, "within": where}
            frame = pd.DataFrame(_contrasts(pairs, question, within))
            if not len(frame):
                title = ", ".join(filter(None, [f"{question.first} × {question.second}", where]))
                problems.append(f"{title}: too few replications have all four runs of a contrast.")
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
    """Test [(A, B) - (base A, B)] - [(A, base B) - (base A, base B)] for all levels A and B.

    The first level of a factor is its baseline.
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
    """Compute the F test with seeds as blocks, averaged over folds, which are not independent blocks."""
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
    """Test whether a gain depends on the number of training images.

    In each replication a line is fitted to the gain on log2 of the number, and the mean slope is tested over
    the replications: gains with the same seed are not independent, slopes of different seeds are (Frison and
    Pocock 1992, doi 10.1002/sim.4780111304).

    Returns:
        Slopes, with one row for each level and combination of the other factors (`p_holm` within a question);
        gains, with one row for each pair of runs and its number of `images`; a list of slopes with too few
        runs.
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
    """Return gains by fraction and replication, with the mean number of training images."""
    parts = []
    for fraction in sorted(pairs.study.levels("fraction"), key=float):
        levels = {**within, "fraction": fraction}
        values = pairs.differences(effect, levels).values
        images = round(pairs.runs_with(levels)["train_images"].mean()) if len(values) else 0
        parts.append(values.rename("gain").reset_index().assign(images=images))
    return pd.concat(parts)


def fitted_lines(gains: pd.DataFrame) -> pd.DataFrame:
    """Fit a line to the gain on log2 of `images` in each replication with two sizes or more.

    Returns:
        The columns `intercept` and `slope`, by (seed, fold).
    """
    lines = {
        replication: np.polyfit(np.log2(group["images"].to_numpy(dtype=float)), group["gain"], 1)
        for replication, group in gains.groupby(["seed", "fold"])
        if group["images"].nunique() > 1
    }
    index = pd.MultiIndex.from_tuples(lines, names=["seed", "fold"]) if lines else None
    return pd.DataFrame([line[::-1] for line in lines.values()], columns=["intercept", "slope"], index=index)
