"""Tables from the records of a study: one row for each run, epoch or measured layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from fer_attention.study.config import FACTORS, StudyConfig, level_text
from fer_attention.study.grid import conditions
from fer_attention.study.records import RunRecord, Scores


def varied_factors(study: StudyConfig) -> list[str]:
    """Return the factors with more than one level."""
    return [factor for factor in FACTORS if len(study.levels(factor)) > 1]


def label_of(factors: Mapping[Any, Any], names: Iterable[str]) -> str:
    """Join the levels of some factors: `cbam, elu, 20 % of train`."""
    return ", ".join(level_text(name, factors[name]) for name in names)


def ordered_runs(study: StudyConfig, runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Sort runs by condition, in the order of the study, then by seed and fold."""
    order = conditions(study)
    return sorted(runs, key=lambda run: (order.index(run.factors), run.seed, run.fold))


def run_table(study: StudyConfig, runs: Iterable[RunRecord]) -> pd.DataFrame:
    """Tabulate runs: factors, replication, scores, costs and facts about the images.

    This is the `records.csv` of a report; all tests can be computed from it.
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
    """Tabulate parts of runs, such as epochs or layers, with the factors of the run."""
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
