"""The numbers behind a report for programs: one line for each run, and the whole analysis."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from fer_attention.study.config import FACTORS
from fer_attention.study.records import RunRecord, Scores
from fer_attention.study.report.reading import runs_of
from fer_attention.study.report.sentence import Sentence
from fer_attention.study.results import Analysis, ParetoPoint

IN_RECORDS = {"config", "history", "activations", "environment"}
"""What `analysis.json` leaves to the record of each run."""


def records_csv(analysis: Analysis) -> bytes:
    """One line for each finished run, in the order of the conditions."""
    frame = pd.DataFrame([_line(run) for run in runs_of(analysis.conditions)])
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _line(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.id,
        **{factor: run.factors[factor] for factor in FACTORS},
        "seed": run.seed,
        "fold": run.fold,
        "model": run.model,
        **_scores("test", run.test),
        **_scores("test_new", run.test_new),
        **_scores("validation", run.validation),
        **run.cost.model_dump(),
        "selected_epoch": run.selected_epoch,
        "epochs": len(run.history),
        "protocol": run.data.protocol,
        "fold_name": run.data.fold,
        "tta": run.tta,
        "train_images": run.data.train_images,
        "validation_images": run.data.validation_images,
        "test_images": run.data.test_images,
        "copies": run.data.copies,
        "fingerprint": run.data.fingerprint,
        "warnings": " ".join(run.warnings),
        "finished": run.finished,
    }


def _scores(name: str, scores: Scores | None) -> dict[str, Any]:
    return {f"{name}_{field}": getattr(scores, field, None) for field in Scores.model_fields}


def analysis_json(analysis: Analysis, sentences: tuple[Sentence, ...]) -> bytes:
    """All numbers in full; what is undefined is null. What single runs did is left to their records."""
    content = {
        "sentences": [one.to_dict() for one in sentences],
        **{field.name: jsonable(getattr(analysis, field.name)) for field in dataclasses.fields(analysis)},
    }
    return (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def jsonable(value: Any) -> Any:
    """What JSON can hold of records, arrays and tables; numbers that are not finite become None.

    Raises:
        TypeError: Of an object of another kind.
    """
    if isinstance(value, ParetoPoint):
        return {"condition": jsonable(value.condition.factors), "on_front": list(value.on_front)}
    if isinstance(value, RunRecord):
        return jsonable(value.model_dump(mode="json", exclude=IN_RECORDS))
    if isinstance(value, BaseModel):
        return jsonable(value.model_dump(mode="json", exclude=_paths(value)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, pd.DataFrame):
        return jsonable(value.reset_index().to_dict("records"))
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return jsonable(value._asdict())
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        return value.name  # where it lies says something of the machine, nothing of the numbers
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"analysis.json cannot hold {type(value).__name__}.")


def _paths(value: BaseModel) -> Any:
    """A study's data sets lie somewhere on a machine; that is nobody else's."""
    return {"data": {"__all__": {"path"}}} if "data" in type(value).model_fields else None
