"""Does a gain depend on another factor, or on the number of training images?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from fer_attention.study.analysis.pairs import Levels, Pairs, by_seed, matched
from fer_attention.study.analysis.runs import label_of
from fer_attention.study.analysis.statistics import InteractionTest, holm, interaction_test, paired_test
from fer_attention.study.config import Interaction, Level, level_text


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
            alpha = pairs.study.alpha
            frame[["p_holm", "p_equivalent"]] = frame[["p", "p_equivalent"]].apply(holm)
            frame["verdict"] = np.select(
                [
                    (frame["p_holm"] < alpha) & (frame["mean"] > 0),
                    (frame["p_holm"] < alpha) & (frame["mean"] < 0),
                    frame["p_equivalent"] < alpha,
                ],
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
    study = pairs.study
    (base_a, *levels_a), (base_b, *levels_b) = study.levels(question.first), study.levels(question.second)
    for a in levels_a:
        for b in levels_b:
            with_b = pairs.differences(question.first, a, base_a, {**within, question.second: b})
            without = pairs.differences(question.first, a, base_a, {**within, question.second: base_b})
            across = "data" in (question.first, question.second)
            table, _ = matched([with_b.values, without.values], across_data=across)
            values = table[0] - table[1]
            if len(values) > 1:
                overlap = pairs.overlap(values, within)
                test = paired_test(values, margin=study.margin, alpha=study.alpha, overlap=overlap)
                yield {
                    "first": level_text(question.first, a),
                    "second": level_text(question.second, b),
                    "first_baseline": level_text(question.first, base_a),
                    "second_baseline": level_text(question.second, base_b),
                    **asdict(test),
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
    for family, question in enumerate(pairs.study.questions(), start=1):
        if "fraction" not in pairs.varied or question.factor == "fraction":
            continue
        for level in question.levels or pairs.study.levels(question.factor):
            for within in pairs.combinations(pairs.others(question.factor, "fraction")):
                if level == question.baseline:
                    continue
                found = _gains(pairs, question.factor, level, question.baseline, within)
                names = {
                    "family": family,
                    "factor": question.factor,
                    "level": level_text(question.factor, level),
                    "baseline": level_text(question.factor, question.baseline),
                    "within": label_of(within, within),
                }
                lines = fitted_lines(found)
                if len(lines) < 2:
                    problems.append(
                        f"{names['level']} by number of images: {len(lines)} replication(s) have runs at two "
                        "sizes, too few to test."
                    )
                    continue
                overlap = pairs.overlap(lines["slope"], within)
                study = pairs.study
                test = asdict(
                    paired_test(lines["slope"], margin=study.margin, alpha=study.alpha, overlap=overlap)
                )
                slopes.append(
                    {**names, **test, "least": found["images"].min(), "most": found["images"].max()}
                )
                gains.append(found.assign(**names))
    frame = pd.DataFrame(slopes)
    if len(frame):
        frame["p_holm"] = frame.groupby("family")["p"].transform(holm)
        frame = frame.drop(columns=["p_not_worse", "p_equivalent", "needed", "detectable"])
    return frame, pd.concat(gains) if gains else pd.DataFrame(), problems


def _gains(pairs: Pairs, factor: str, level: Level, baseline: Level, within: Levels) -> pd.DataFrame:
    """Gains by fraction and replication, with the mean number of training images of the fraction."""
    parts = []
    for fraction in sorted(pairs.study.levels("fraction"), key=float):
        values = pairs.differences(factor, level, baseline, {**within, "fraction": fraction}).values
        runs = pairs.runs[pairs.runs["fraction"] == fraction]
        for name, one in within.items():
            runs = runs[runs[name] == one]
        images = round(runs["train_images"].mean()) if len(values) else 0
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
