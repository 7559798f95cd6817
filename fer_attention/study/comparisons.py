"""Levels against their baselines: families of paired tests, corrected together."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fer_attention.study.conditions import label_of
from fer_attention.study.config import Comparison, Level, StudyConfig, level_text
from fer_attention.study.matched import Levels, Matched, Pair, Replication
from fer_attention.study.records import RunRecord
from fer_attention.study.results import ComparisonResult, Family, ImageTest
from fer_attention.study.statistics import (
    corrected_resampled_t_test,
    holm,
    mcnemar,
    paired_comparison,
    probability_of_outperforming,
    replications_needed,
)

DRAWN_AT_RANDOM = ("holdout", "stratified_kfold", "paper")
"""Protocols whose seed says who is tested; `subject_kfold` draws with `shuffle` only."""


def family(matched: Matched, question: Comparison) -> Family | None:
    """One question's comparisons, pooled and single; None where nothing can be compared."""
    study = matched.study
    levels = [
        level for level in question.levels or study.levels(question.factor) if level != question.baseline
    ]
    others = matched.others(question.factor)
    pooled = [_pooled(matched, question, level, others) for level in levels] if others else []
    single = [
        _single(matched, question, level, within)
        for level in levels
        for within in matched.combinations(others)
    ]
    made = Family(
        question.factor,
        question.baseline,
        pooled=_corrected_together(study, [one for one in pooled if one is not None]),
        single=_corrected_together(study, [one for one in single if one is not None]),
    )
    return made if made.pooled or made.single else None


def _corrected_together(
    study: StudyConfig, found: Sequence[ComparisonResult]
) -> tuple[ComparisonResult, ...]:
    """With p adjusted over all of them."""
    raw = [one.corrected.p if one.corrected is not None else one.paired.p_t for one in found]
    return tuple(
        replace(one, p_holm=p, decided=p is not None and p < study.alpha)
        for one, p in zip(found, holm(raw) if raw else [], strict=True)
    )


def _single(matched: Matched, question: Comparison, level: Level, within: Levels) -> ComparisonResult | None:
    pairs, unpaired = matched.pairs(question, level, within)
    images = tuple(
        test for replication, pair in pairs.items() if (test := _image_test(matched, replication, pair))
    )
    values = {one: pair.accuracies for one, pair in pairs.items()}
    runs = [run for pair in pairs.values() for run in (pair.run, pair.baseline)]
    return _comparison(matched, question, level, within, values, runs, images=images, unpaired=unpaired)


def _pooled(
    matched: Matched, question: Comparison, level: Level, others: Sequence[str]
) -> ComparisonResult | None:
    """The mean over all combinations of the other factors in which a replication has both runs.

    Replications that lack a combination which others have are left out: their mean would be of other
    conditions. Where combinations differ in their folds, as data sets do, each is averaged over its folds
    first, and the seeds are the replications.
    """
    combinations = [matched.pairs(question, level, within)[0] for within in matched.combinations(others)]
    present = [pairs for pairs in combinations if pairs]
    same_folds = len({frozenset(fold for _, fold in pairs) for pairs in present}) < 2
    sides: list[list[dict[Replication, float]]] = [[], []]
    for pairs in present:
        for number, side in enumerate(sides):
            values = {one: pair.accuracies[number] for one, pair in pairs.items()}
            side.append(values if same_folds else matched.independent(values))
    everywhere = set.intersection(*map(set, sides[0])) if present else set()
    means = {
        one: tuple(statistics.fmean(values[one] for values in side) for side in sides)
        for one in sorted(everywhere)
    }
    used = [
        run
        for pairs in present
        for (seed, fold), pair in pairs.items()
        if ((seed, fold) if same_folds else (seed, 0)) in everywhere
        for run in (pair.run, pair.baseline)
    ]
    total = sum(
        len(matched.runs({**within, question.factor: wanted}))
        for within in matched.combinations(others)
        for wanted in (level, question.baseline)
    )
    return _comparison(
        matched,
        question,
        level,
        {},
        {one: (ours, theirs) for one, (ours, theirs) in means.items()},
        used,
        images=(),
        unpaired=total - len(used),
    )


def _comparison(
    matched: Matched,
    question: Comparison,
    level: Level,
    within: Levels,
    values: Mapping[Replication, tuple[float, float]],
    runs: Sequence[RunRecord],
    *,
    images: tuple[ImageTest, ...],
    unpaired: int,
) -> ComparisonResult | None:
    study, factor = matched.study, question.factor
    ours, theirs = level_text(factor, level), level_text(factor, question.baseline)
    label = ", ".join(filter(None, [f"{ours} - {theirs}", label_of(within, within)]))
    if len(values) < 2:
        matched.problems.append(f"{label}: {len(values)} pair(s) of runs, too few to compare.")
        return None
    a, b = np.array(list(values.values())).T
    paired = paired_comparison(a, b, confidence=1 - study.alpha)
    return ComparisonResult(
        factor=factor,
        level=level,
        baseline=question.baseline,
        within=within,
        label=label,
        paired=paired,
        corrected=corrected_resampled_t_test(
            a - b,
            train_size=statistics.fmean(run.data.train_images for run in runs),
            test_size=statistics.fmean(run.data.test_images for run in runs),
            confidence=1 - study.alpha,
        )
        if _share_training_images(study, values, runs)
        else None,
        outperforming=probability_of_outperforming(a, b, confidence=1 - study.alpha),
        p_holm=None,
        decided=False,
        replications_needed=replications_needed(paired.sd, study.margin, alpha=study.alpha)
        if paired.sd
        else None,
        images=images,
        unpaired=unpaired,
    )


def _share_training_images(
    study: StudyConfig, replications: Iterable[Replication], runs: Sequence[RunRecord]
) -> bool:
    """Whether replications train on overlapping parts of a set: its folds, or divisions drawn by seed."""
    drawn = any(
        run.data.protocol in DRAWN_AT_RANDOM or run.data.protocol_options.get("shuffle") for run in runs
    )
    return len({fold for _, fold in replications}) > 1 or ("folds" in study.replications.vary and drawn)


def _image_test(matched: Matched, replication: Replication, pair: Pair) -> ImageTest | None:
    """McNemar's test on the test images of one replication, if both runs saw the same."""
    ours, theirs = matched.predictions(pair.run), matched.predictions(pair.baseline)
    if not np.array_equal(ours.names, theirs.names) or not np.array_equal(ours.labels, theirs.labels):
        matched.problems.append(
            f"{pair.run.model} and {pair.baseline.model}, seed {replication[0]}, fold {replication[1]}: "
            "their test images differ, so they are not compared image by image."
        )
        return None
    confidence = 1 - matched.study.alpha
    return ImageTest(*replication, mcnemar(ours.correct, theirs.correct, confidence=confidence))
