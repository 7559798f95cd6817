"""Accuracies of a study by levels and replication, paired where runs share a seed and a fold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from fer_attention.study.analysis.runs import varied_factors
from fer_attention.study.analysis.statistics import PairedTest, paired_test
from fer_attention.study.config import Level, StudyConfig, level_text

Levels = Mapping[str, Level]

DRAWN_AT_RANDOM = ("holdout", "stratified_kfold", "paper")
"""Protocols that draw the test images by seed; `subject_kfold` does so only with `shuffle`."""


class Effect(NamedTuple):
    """Level of a factor and the baseline that it is compared with."""

    factor: str
    level: Level
    baseline: Level

    @property
    def names(self) -> dict[str, str]:
        """The three names as shown in tables."""
        levels = {name: level_text(self.factor, getattr(self, name)) for name in ("level", "baseline")}
        return {"factor": self.factor, **levels}


class Differences(NamedTuple):
    """Differences of accuracy between two levels."""

    values: pd.Series  # by (seed, fold), or by (seed, 0) where folds were averaged
    unpaired: int  # excluded runs, which have no partner


class Pairs:
    """Finished runs of a study, indexed by the levels of its varied factors."""

    def __init__(self, study: StudyConfig, runs: pd.DataFrame) -> None:
        self.study, self.varied, self.runs = study, varied_factors(study), runs
        groups = runs.groupby(self.varied, sort=False) if self.varied and len(runs) else ()
        self._accuracies = {
            levels: group.set_index(["seed", "fold"])["test_accuracy"].sort_index()
            for levels, group in groups
        }

    def effects(self) -> Iterator[tuple[int, Effect]]:
        """Yield the effects to test, each with the number of its question."""
        for number, question in enumerate(self.study.questions(), start=1):
            for level in question.levels or self.study.levels(question.factor):
                if level != question.baseline:
                    yield number, Effect(question.factor, level, question.baseline)

    def others(self, *factors: str) -> list[str]:
        """Return the other varied factors."""
        return [name for name in self.varied if name not in factors]

    def combinations(self, names: Sequence[str]) -> Iterator[dict[str, Level]]:
        """Yield every combination of levels of some factors."""
        for levels in itertools.product(*(self.study.levels(name) for name in names)):
            yield dict(zip(names, levels, strict=True))

    def runs_with(self, levels: Levels) -> pd.DataFrame:
        """Select the runs with these levels."""
        runs = self.runs
        for name, level in levels.items():
            runs = runs[runs[name] == level]
        return runs

    def accuracies(self, levels: Levels) -> pd.Series:
        """Return the accuracies of one condition, by (seed, fold)."""
        empty = pd.Series(index=pd.MultiIndex.from_arrays([[], []], names=["seed", "fold"]), dtype=float)
        return self._accuracies.get(tuple(levels[name] for name in self.varied), empty)

    def differences(self, effect: Effect, within: Levels) -> Differences:
        """Subtract the baseline from the level, with these levels of all other factors."""
        ours, theirs = (self.accuracies({**within, effect.factor: one}) for one in effect[1:])
        values = (ours - theirs).dropna()
        return Differences(values, len(ours) + len(theirs) - 2 * len(values))

    def pooled(self, effect: Effect) -> Differences:
        """Subtract the baseline from the level and average over all combinations of the other factors.

        Replications without all of the combinations are excluded: their mean would be over other conditions.
        """
        others = self.others(effect.factor)
        parts = [self.differences(effect, within) for within in self.combinations(others)]
        runs = sum(part.unpaired + 2 * len(part.values) for part in parts)
        columns = [part.values for part in parts if len(part.values)]
        if not columns:
            return Differences(pd.Series(dtype=float), runs)
        table, averaged = matched(columns, across_data="data" in others)
        indexes = [one.index.droplevel("fold") if averaged else one.index for one in (table, *columns)]
        used = 2 * sum(int(index.isin(indexes[0]).sum()) for index in indexes[1:])
        return Differences(table.mean(axis=1), runs - used)

    def test(self, values: pd.Series, within: Levels) -> PairedTest:
        """Test values by replication, corrected if replications share training images."""
        study = self.study
        return paired_test(
            values, margin=study.margin, alpha=study.alpha, overlap=self.overlap(values, within)
        )

    def overlap(self, values: pd.Series, within: Levels) -> float:
        """Return the ratio of test to training images if the training sets overlap, else 0.

        They overlap between folds of one data set, and if the seed draws the test images.
        """
        runs = self.runs_with(within)
        at_random = runs["protocol"].map(
            lambda name: name.startswith(DRAWN_AT_RANDOM) or "shuffle=True" in name
        )
        drawn = "folds" in self.study.replications.vary and bool(at_random.any())
        if not len(values) or not (values.index.get_level_values("fold").nunique() > 1 or drawn):
            return 0.0
        return float(runs["test_images"].mean() / runs["train_images"].mean())


def matched(columns: Sequence[pd.Series], *, across_data: bool) -> tuple[pd.DataFrame, bool]:
    """Align columns on the replications that all of them have.

    If data sets differ in their folds, each column is averaged over its folds and the seeds are the
    replications.

    Returns:
        The table, and true if folds were averaged.
    """
    folds = {frozenset(one.index.get_level_values("fold")) for one in columns}
    average = across_data and len(folds) > 1
    aligned = [by_seed(one) if average else one for one in columns]
    return pd.concat(aligned, axis=1, keys=range(len(columns))).dropna(), average


def by_seed(values: pd.Series) -> pd.Series:
    """Average over the folds of each seed that has all of them, as (seed, 0)."""
    groups = values.groupby("seed")
    means = groups.mean()[groups.count() == values.index.get_level_values("fold").nunique()]
    return means.set_axis(pd.MultiIndex.from_product([means.index, [0]], names=["seed", "fold"]))
