"""The finished runs of a study by their levels, and the pairs among them."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fer_attention.study.conditions import varied_factors
from fer_attention.study.config import Comparison, Level, StudyConfig
from fer_attention.study.records import Predictions, RunRecord
from fer_attention.study.results import ConditionResult

Replication = tuple[int, int]
Levels = dict[str, Level]
Read = Callable[[str], Predictions]


@dataclass(frozen=True)
class Pair:
    """Two runs of one replication that differ in one factor."""

    run: RunRecord
    baseline: RunRecord

    @property
    def accuracies(self) -> tuple[float, float]:
        """Of both, on the test images."""
        return self.run.test.accuracy, self.baseline.test.accuracy


class Matched:
    """The finished runs of a study by their levels and replication.

    Attributes:
        study: The study.
        varied: Its factors with more than one level.
        problems: What was left out of the answers, and why.
    """

    def __init__(self, study: StudyConfig, conditions: Sequence[ConditionResult], read: Read) -> None:
        self.study, self.varied, self._read = study, varied_factors(study), read
        self.conditions = conditions
        self._runs = {
            tuple(one.factors[name] for name in self.varied): {run.replication: run for run in one.runs}
            for one in conditions
        }
        self.problems: list[str] = []
        seeds = {seed for one in conditions for seed, _ in _replications(one)}
        folds = {fold for one in conditions for _, fold in _replications(one)}
        self.has_folds, self._averages = len(folds) > 1, len(folds) > 1 and len(seeds) > 1

    def independent(self, values: Mapping[Replication, float]) -> dict[Replication, float]:
        """Values by replication, those of several folds averaged within their seed.

        Folds of one set share training images, so tests that take replications for independent go by seeds.
        Seeds that lack a fold are left out. With a single seed the folds stay as they are.
        """
        if not self._averages:
            return dict(values)
        folds = {fold for _, fold in values}
        by_seed: dict[int, list[float]] = {}
        for (seed, _), value in values.items():
            by_seed.setdefault(seed, []).append(value)
        return {
            (seed, 0): statistics.fmean(found) for seed, found in by_seed.items() if len(found) == len(folds)
        }

    def warn_of_folds(self, what: str) -> None:
        """Say, where it is so, that a test took folds for independent."""
        if self.has_folds and not self._averages:
            self.problems.append(
                f"{what}: with one seed its folds stand for replications; they share training images, so "
                "its p-values are too small."
            )

    def others(self, *factors: str) -> tuple[str, ...]:
        """The varied factors besides these."""
        return tuple(name for name in self.varied if name not in factors)

    def combinations(self, names: Sequence[str]) -> Iterator[Levels]:
        """Every combination of levels of some factors."""
        for levels in itertools.product(*(self.study.levels(name) for name in names)):
            yield dict(zip(names, levels, strict=True))

    def runs(self, levels: Mapping[str, Level]) -> dict[Replication, RunRecord]:
        """The runs of one condition by replication."""
        return self._runs.get(tuple(levels[name] for name in self.varied), {})

    def pairs(
        self, question: Comparison, level: Level, within: Levels
    ) -> tuple[dict[Replication, Pair], int]:
        """Runs of a level with those of the baseline, and how many lack their partner."""
        ours = self.runs({**within, question.factor: level})
        theirs = self.runs({**within, question.factor: question.baseline})
        both = [replication for replication in ours if replication in theirs]
        unpaired = len(ours) + len(theirs) - 2 * len(both)
        return {one: Pair(ours[one], theirs[one]) for one in sorted(both)}, unpaired

    def predictions(self, run: RunRecord) -> Predictions:
        """The answers of a run."""
        return self._read(run.id)


def _replications(condition: ConditionResult) -> list[Replication]:
    return [run.replication for run in condition.runs]
