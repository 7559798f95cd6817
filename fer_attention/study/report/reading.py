"""What several parts of a report read out of an analysis in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fer_attention.study.config import Level
from fer_attention.study.records import RunRecord
from fer_attention.study.results import Analysis, ComparisonResult, ConditionResult

POWER = 0.8
"""That the numbers of needed replications are for."""


class Quoted(NamedTuple):
    """The difference that a report quotes for a comparison: the corrected one where training sets overlap."""

    difference: float
    low: float | None
    high: float | None
    p: float | None
    n: int


def quoted(comparison: ComparisonResult) -> Quoted:
    """Difference, interval, uncorrected p and number of pairs."""
    paired, corrected = comparison.paired, comparison.corrected
    if corrected is not None:
        low, high = corrected.interval or (None, None)
        return Quoted(corrected.difference, low, high, corrected.p, corrected.n)
    low, high = paired.interval or (None, None)
    return Quoted(paired.difference, low, high, paired.p_t, paired.n)


def confidence(analysis: Analysis) -> float:
    """Of the study's intervals."""
    return round(1 - analysis.study.alpha, 10)  # 0.95, not 0.9500000000000001 from 0.05 in binary


def data_sets(analysis: Analysis) -> list[str]:
    """Those with a finished run, in the study's order."""
    found = {condition.data.name for condition in analysis.conditions}
    return [name for name in analysis.study.data if name in found]


def conditions_on(analysis: Analysis, data: str) -> list[ConditionResult]:
    """Those on one data set."""
    return [condition for condition in analysis.conditions if condition.data.name == data]


def largest(conditions: Sequence[ConditionResult]) -> list[ConditionResult]:
    """Those with the most of the training images: of a study of sizes only the last step."""
    most = max((float(condition.factors["fraction"]) for condition in conditions), default=1.0)
    return [condition for condition in conditions if condition.factors["fraction"] == most]


def published(analysis: Analysis, condition: ConditionResult) -> float | None:
    """The paper's accuracy for a condition; only for those with the most training images, as it used all."""
    same = largest(conditions_on(analysis, condition.data.name))
    return condition.published if any(one is condition for one in same) else None


def runs_of(conditions: Sequence[ConditionResult]) -> list[RunRecord]:
    """All finished runs."""
    return [run for condition in conditions for run in condition.runs]


def agrees(condition: ConditionResult, factors: Mapping[str, Level]) -> bool:
    """Whether a condition has these levels."""
    return all(condition.factors[name] == level for name, level in factors.items())


def protocol_text(runs: Sequence[RunRecord]) -> str:
    """How test images were kept apart: `official`, `kfold (folds=10), 10 folds`."""
    first = runs[0].data
    options = ", ".join(f"{name}={value}" for name, value in sorted(first.protocol_options.items()))
    folds = len({run.fold for run in runs})
    return first.protocol + (f" ({options})" if options else "") + (f", {folds} folds" if folds > 1 else "")


def tta_text(tta: str) -> str:
    """Test-time augmentation in words."""
    return "no test-time augmentation" if tta == "none" else f"test-time augmentation {tta}"


def slug(text: str, number: int) -> str:
    """A file name's part for any name; from the second on with its number, so that no two are the same."""
    kept = "".join(c for c in text.lower() if c.isascii() and c.isalnum())[:40]
    return "-".join(part for part in (kept, f"{number}" if number > 1 or not kept else "") if part)
