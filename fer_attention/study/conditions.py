"""From records to conditions: what the runs of one combination of levels come to together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from fer_attention.attention import ATTENTIONS
from fer_attention.evaluation import paper_parameters
from fer_attention.models import ModelSpec
from fer_attention.study.config import FACTORS, Level, StudyConfig, level_text
from fer_attention.study.grid import conditions
from fer_attention.study.paper import published
from fer_attention.study.records import RunRecord, Scores
from fer_attention.study.results import ConditionResult, Summary
from fer_attention.study.statistics.student import standard_error, t_interval
from fer_attention.study.store import Manifest

COUNTED_BY_THE_PAPER = ("none", "se", "eca", "cbam")
COUNTLESS = {"drop_rate", "drop_path_rate"}
"""Fields of a structure that change no parameters: with others a model is not the paper's."""


def condition_results(manifest: Manifest, runs: Mapping[str, RunRecord]) -> tuple[ConditionResult, ...]:
    """Every condition with a finished run, in the study's order."""
    study = manifest.study
    planned: dict[tuple[Level, ...], list[str]] = {}
    for run in manifest.runs:
        planned.setdefault(_key(run.factors), []).append(run.id)
    found = []
    for factors in conditions(study):
        ids = planned.get(_key(factors), [])
        done = sorted((runs[one] for one in ids if one in runs), key=lambda run: run.replication)
        if done:
            found.append(_condition(study, factors, done, planned=len(ids)))
    return tuple(found)


def summarise(values: Iterable[float], *, confidence: float) -> Summary:
    """Mean, deviation and Student's t interval of the runs' values, which are shares from 0 to 1.

    The interval ends there, too: few runs near a bound would reach over it.
    """
    numbers = list(values)
    mean = math.fsum(numbers) / len(numbers)
    if len(numbers) < 2:
        return Summary(len(numbers), mean, None, None, None)
    sd = statistics.stdev(numbers)
    error = standard_error(sd, len(numbers))
    interval = t_interval(mean, error, df=len(numbers) - 1, confidence=confidence)
    if interval is None:
        return Summary(len(numbers), mean, sd, None, None)
    return Summary(len(numbers), mean, sd, max(interval[0], 0.0), min(interval[1], 1.0))


def varied_factors(study: StudyConfig) -> tuple[str, ...]:
    """Factors with more than one level."""
    return tuple(factor for factor in FACTORS if len(study.levels(factor)) > 1)


def label_of(factors: Mapping[str, Level], names: Iterable[str]) -> str:
    """The levels of some factors, for people."""
    return ", ".join(level_text(name, factors[name]) for name in names)


def _key(factors: Mapping[str, Level]) -> tuple[Level, ...]:
    return tuple(factors[name] for name in FACTORS)


def _condition(
    study: StudyConfig, factors: Mapping[str, Level], runs: Sequence[RunRecord], *, planned: int
) -> ConditionResult:
    first = runs[0]
    new = [run.test_new.accuracy for run in runs if run.test_new is not None]
    memory = [run.cost.peak_memory_mb for run in runs if run.cost.peak_memory_mb is not None]
    confidence = 1 - study.alpha

    def of(scores: Iterable[Scores], name: str) -> Summary:
        return summarise((getattr(one, name) for one in scores), confidence=confidence)

    tests = [run.test for run in runs]
    return ConditionResult(
        factors=dict(factors),
        label=label_of(factors, varied_factors(study)) or first.model,
        model=first.model,
        runs=tuple(runs),
        planned=planned,
        accuracy=of(tests, "accuracy"),
        accuracy_new=summarise(new, confidence=confidence) if new else None,
        balanced_accuracy=of(tests, "balanced_accuracy"),
        macro_f1=of(tests, "macro_f1"),
        calibration_error=of(tests, "calibration_error"),
        validation_accuracy=of([run.validation for run in runs], "accuracy"),
        parameters=first.cost.parameters,
        macs=first.cost.macs,
        paper_parameters=_paper_parameters(first.model, str(factors["attention"]))
        if set(first.config["structure"]) <= COUNTLESS
        else None,
        train_seconds=statistics.median(run.cost.train_seconds for run in runs),
        images_per_second=statistics.median(run.cost.images_per_second for run in runs),
        latency_ms=statistics.median(run.cost.latency_ms for run in runs),
        peak_memory_mb=max(memory, default=None),
        bias_shift=_bias_shift(runs),
        published=published(first.model, str(factors["data"])),
        data=first.data,
    )


@cache  # it builds models, and a model stands in many conditions
def _paper_parameters(model: str, attention: str) -> int | None:
    known = attention not in ATTENTIONS or attention in COUNTED_BY_THE_PAPER
    if not known or ModelSpec.parse(model).traits.paper_biases is None:
        return None
    return paper_parameters(model)


def _bias_shift(runs: Sequence[RunRecord]) -> float | None:
    """Mean over runs of the mean over layers of |mean activation|."""
    means = [statistics.fmean(abs(one.mean) for one in run.activations) for run in runs if run.activations]
    return statistics.fmean(means) if means else None
