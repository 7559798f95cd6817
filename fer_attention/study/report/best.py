"""The condition with the highest mean, and which others may be as good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from fer_attention.study.records import RunRecord
from fer_attention.study.report.reading import conditions_on, data_sets, largest
from fer_attention.study.results import Analysis, ConditionResult
from fer_attention.study.statistics import corrected_resampled_t_test, holm


@dataclass(frozen=True)
class Best:
    """The highest mean among the conditions on one data set with the most training images.

    Attributes:
        condition: The one.
        others: How many were compared with it, over at least two common replications.
        alike: How many of them are not below it after Holm's correction, at the study's alpha. Where all
            differences are equal there is nothing to test by, so nothing is told apart.
    """

    condition: ConditionResult
    others: int
    alike: int


def best_conditions(analysis: Analysis) -> tuple[Best, ...]:
    """One for each data set; none where there is nothing to choose from."""
    found = []
    for data in data_sets(analysis):
        conditions = largest(conditions_on(analysis, data))
        if len(conditions) > 1:
            found.append(_best(conditions, analysis.study.alpha))
    return tuple(found)


def _best(conditions: Sequence[ConditionResult], alpha: float) -> Best:
    best = max(conditions, key=lambda condition: condition.accuracy.mean)
    paired = [_pairs(best, one) for one in conditions if one is not best]
    adjusted = holm([_p_value(pairs) for pairs in paired if len(pairs) > 1])
    return Best(best, len(adjusted), sum(p is None or p >= alpha for p in adjusted))


def _pairs(best: ConditionResult, other: ConditionResult) -> list[tuple[RunRecord, RunRecord]]:
    """Runs of the same replication."""
    theirs = {run.replication: run for run in other.runs}
    return [(run, theirs[run.replication]) for run in best.runs if run.replication in theirs]


def _p_value(pairs: Sequence[tuple[RunRecord, RunRecord]]) -> float | None:
    """Of the paired t-test, corrected where folds share training images; None without any spread."""
    folds = len({run.fold for run, _ in pairs})
    train = fmean(run.data.train_images for run, _ in pairs)
    test = fmean(run.data.test_images for run, _ in pairs) if folds > 1 else 0.0
    differences = [one.test.accuracy - two.test.accuracy for one, two in pairs]
    return corrected_resampled_t_test(differences, train_size=train, test_size=test).p
