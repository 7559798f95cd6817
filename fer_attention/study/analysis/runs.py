"""From the records of a study to tables: one row for each run, each epoch and each measured layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from fer_attention.study.config import FACTORS, StudyConfig, level_text
from fer_attention.study.grid import conditions
from fer_attention.study.records import RunRecord, Scores


def varied_factors(study: StudyConfig) -> list[str]:
    """Factors with more than one level."""
    return [factor for factor in FACTORS if len(study.levels(factor)) > 1]


def label_of(factors: Mapping[Any, Any], names: Iterable[str]) -> str:
    """The levels of some factors: `cbam, elu, 20 % of train`."""
    return ", ".join(level_text(name, factors[name]) for name in names)


def ordered_runs(study: StudyConfig, runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Runs in the study's order of conditions, then by seed and fold."""
    order = conditions(study)
    return sorted(runs, key=lambda run: (order.index(run.factors), run.seed, run.fold))


def run_table(study: StudyConfig, runs: Iterable[RunRecord]) -> pd.DataFrame:
    """One row for each run: its factors, replication, scores, costs and facts about the images.

    It is the `records.csv` of a report, and all tests need of a study.
    """
    varied = varied_factors(study)
    return pd.DataFrame([_row(run, label_of(run.factors, varied) or run.model) for run in runs])


def _row(run: RunRecord, condition: str) -> dict[str, Any]:
    data = run.data.model_dump(exclude={"name", "labels", "fold"})
    options = ", ".join(f"{name}={value}" for name, value in sorted(data.pop("protocol_options").items()))
    return {
        "id": run.id,
        "condition": condition,
        "model": run.model,
        **{factor: run.factors[factor] for factor in FACTORS},
        "seed": run.seed,
        "fold": run.fold,
        **_scores("test", run.test),
        **_scores("test_new", run.test_new),
        **_scores("validation", run.validation),
        **run.cost.model_dump(),
        "selected_epoch": run.selected_epoch,
        "epochs": len(run.history),
        "tta": run.tta,
        **data,
        "protocol": f"{run.data.protocol} ({options})" if options else run.data.protocol,
        "labels": " ".join(run.data.labels),
        "warnings": " ".join(run.warnings),
        "finished": run.finished,
    }


def _scores(name: str, scores: Scores | None) -> dict[str, float | None]:
    return {f"{name}_{field}": getattr(scores, field, None) for field in Scores.model_fields}


def part_table(study: StudyConfig, parts: Iterable[tuple[RunRecord, Mapping[str, Any]]]) -> pd.DataFrame:
    """One row for each part of a run, such as an epoch or a layer, after the run's factors."""
    varied = varied_factors(study)
    return pd.DataFrame(
        [
            {
                "condition": label_of(run.factors, varied) or run.model,
                **run.factors,
                "seed": run.seed,
                "fold": run.fold,
                **part,
            }
            for run, part in parts
        ]
    )
