"""Analysis of the folder of a study: tables that answer its questions.

| question | table of `StudyAnalysis` |
| --- | --- |
| How accurate and how costly is each condition? | `conditions`, `runs` |
| Is a level better than its baseline, worse, or demonstrably not worse? | `comparisons` |
| Does a gain depend on another factor? | `interactions`, `contrasts` |
| Does a gain depend on the number of training images? | `slopes`, `gains` |
| How much does a gain cost? | `costs` |
| Is the mean activation closer to zero? | `bias` |

A table without rows has no columns either. The analysis changes no files; `problems` lists missing runs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fer_attention.optional import needs_extra

with needs_extra("study", "The analysis of a study needs pandas, scipy and statsmodels"):
    import pandas as pd
    import scipy as _scipy  # noqa: F401  (checked once, here)
    import statsmodels as _statsmodels  # noqa: F401

from fer_attention.study.analysis.comparisons import best_conditions, comparisons, cost_ratios
from fer_attention.study.analysis.conditions import bias_table, condition_table
from fer_attention.study.analysis.interactions import interactions, size_effects
from fer_attention.study.analysis.pairs import Pairs
from fer_attention.study.analysis.runs import (
    label_of,
    ordered_runs,
    part_table,
    run_table,
    varied_factors,
)
from fer_attention.study.config import StudyConfig
from fer_attention.study.records import RunRecord, read_records
from fer_attention.study.store import Manifest, Store

__all__ = ["Answers", "StudyAnalysis", "analyse_folder", "answers"]


@dataclass(frozen=True)
class Answers:
    """Tables that follow from the table of runs alone.

    >>> found = answers(study, runs)  # doctest: +SKIP
    >>> found.comparisons[["label", "mean", "low", "high", "p_holm", "verdict"]]  # doctest: +SKIP

    Attributes:
        conditions: Means by condition, see `condition_table`.
        comparisons: Levels against their baselines, see `comparisons`.
        interactions: F tests, see `interactions`.
        contrasts: Differences of differences.
        slopes: Gain by number of training images, see `size_effects`.
        gains: Pairs of runs to which the slopes are fitted.
        costs: Cost ratios, see `cost_ratios`.
        best: Best conditions, see `best_conditions`.
        problems: Questions that could not be answered, with the reason.
    """

    conditions: pd.DataFrame
    comparisons: pd.DataFrame
    interactions: pd.DataFrame
    contrasts: pd.DataFrame
    slopes: pd.DataFrame
    gains: pd.DataFrame
    costs: pd.DataFrame
    best: pd.DataFrame
    problems: tuple[str, ...]


@dataclass(frozen=True)
class StudyAnalysis(Answers):
    """Content of a report.

    >>> found = analyse_folder(Path("my_study"))  # doctest: +SKIP
    >>> f"{len(found.runs)} of {found.planned} runs, {len(found.failed)} failed"  # doctest: +SKIP
    '40 of 40 runs, 0 failed'

    Attributes:
        study: The study.
        runs: One row for each finished run, see `run_table`; conditions in the order of the study.
        epochs: Training curves, one row for each epoch of each run.
        bias: Mean activations, see `bias_table`.
        planned: Number of planned runs.
        missing: Titles of planned runs that are not finished.
        failed: (title, reason) of failed runs.
        set_aside: (folder, reason) of runs with damaged files.
        foreign: Number of finished runs in the folder that the study does not plan.
        warnings: (title, training problem) of runs with problems.
        environments: Distinct environments of the runs.
        recipe: Configuration of the first run.
    """

    study: StudyConfig
    runs: pd.DataFrame
    epochs: pd.DataFrame
    bias: pd.DataFrame
    planned: int
    missing: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    set_aside: tuple[tuple[str, str], ...]
    foreign: int
    warnings: tuple[tuple[str, str], ...]
    environments: tuple[dict[str, Any], ...]
    recipe: dict[str, Any]

    @property
    def pooled(self) -> pd.DataFrame:
        """Comparisons over all other factors; empty if the study compares nothing."""
        return self.comparisons[self.comparisons["pooled"]] if len(self.comparisons) else self.comparisons


def analyse_folder(folder: Path) -> StudyAnalysis:
    """Analyse the finished runs in the folder of a study.

    >>> found = analyse_folder(Path("my_study"))  # doctest: +SKIP
    >>> found.conditions[["condition", "n", "accuracy", "low", "high"]]  # doctest: +SKIP

    Raises:
        StudyError: The folder is not that of a study, or `study.json` is damaged.
        FileNotFoundError: The folder has no runs.
    """
    manifest, records = Store(folder).manifest(), read_records(folder)
    study, titles = manifest.study, {run.id: run.title for run in manifest.runs}
    named = [  # a setting or a level may have been given another name since the run
        records.runs[run.id].model_copy(update={"factors": run.factors})
        for run in manifest.runs
        if run.id in records.runs
    ]
    done = ordered_runs(study, named)
    runs = run_table(study, done)
    found = vars(answers(study, runs))
    finished = {run.id for run in done}
    layers = part_table(study, ((run, layer.model_dump()) for run in done for layer in run.activations))
    environments = {json.dumps(run.environment, sort_keys=True) for run in done}
    return StudyAnalysis(
        **found
        | {"problems": (*_not_comparable(done), *_incomplete(manifest, finished), *found["problems"])},
        study=study,
        runs=runs,
        epochs=part_table(study, ((run, epoch) for run in done for epoch in run.history)),
        bias=bias_table(layers),
        planned=len(manifest.runs),
        missing=tuple(
            title for one, title in titles.items() if one not in finished and one not in records.failed
        ),
        failed=tuple((titles[one], why) for one, why in records.failed.items() if one in titles),
        set_aside=tuple((aside.folder.name, aside.reason) for aside in records.set_aside),
        foreign=len(records.runs) - len(finished),
        warnings=tuple((titles[run.id], warning) for run in done for warning in run.warnings),
        environments=tuple(json.loads(text) for text in sorted(environments)),
        recipe=done[0].config if done else {},
    )


def answers(study: StudyConfig, runs: pd.DataFrame) -> Answers:
    """Answer the questions of a study from a table of runs, such as the `records.csv` of a report.

    >>> runs = pd.read_csv("my_study/report/records.csv")  # doctest: +SKIP
    >>> answers(load_study("smoke"), runs).best  # doctest: +SKIP
    """
    if not len(runs):
        tables = [field.name for field in fields(Answers) if field.name != "problems"]
        return Answers(**dict.fromkeys(tables, pd.DataFrame()), problems=())
    pairs = Pairs(study, runs)
    conditions = condition_table(study, runs)
    compared, too_few = comparisons(pairs)
    tests, contrasts, no_interaction = interactions(pairs)
    slopes, gains, no_slope = size_effects(pairs)
    return Answers(
        conditions=conditions,
        comparisons=compared,
        interactions=tests,
        contrasts=contrasts,
        slopes=slopes,
        gains=gains,
        costs=cost_ratios(pairs, conditions, compared),
        best=best_conditions(pairs, conditions),
        problems=(*too_few, *no_interaction, *no_slope),
    )


def _not_comparable(runs: Iterable[RunRecord]) -> list[str]:
    """List differences that make runs incomparable: images, labels, augmentation or environments."""
    facts: dict[str, set[str]] = {}
    for run in runs:
        name = run.data.name
        for difference, value in (
            (f"{name}: the runs used different images, with fingerprints", run.data.fingerprint),
            (f"{name}: the runs used different labels:", " ".join(run.data.labels)),
            ("The runs differ in test-time augmentation:", run.tta),
        ):
            facts.setdefault(difference, set()).add(value)
    keys = dict.fromkeys(key for run in runs for key in run.environment)
    for key in sorted(keys):
        facts[f"The runs had different environments: {key} is"] = {
            json.dumps(run.environment.get(key)) for run in runs
        }
    return [f"{text} {', '.join(sorted(values))}." for text, values in facts.items() if len(values) > 1]


def _incomplete(manifest: Manifest, finished: set[str]) -> list[str]:
    """List conditions with fewer finished runs than planned, including those without any."""
    varied = varied_factors(manifest.study)
    labels = {run.id: label_of(run.factors, varied) or "The only condition" for run in manifest.runs}
    done = Counter(labels[one] for one in finished)
    return [
        f"{label}: {done[label]} of {planned} runs are finished."
        for label, planned in Counter(labels.values()).items()
        if done[label] < planned
    ]
