"""From the folder of a study to all that its report says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from fer_attention.study.answers import interactions, ranks, sizes, trade_offs
from fer_attention.study.comparisons import family
from fer_attention.study.conditions import condition_results, label_of, varied_factors
from fer_attention.study.matched import Matched
from fer_attention.study.records import Records, RunRecord, read_records
from fer_attention.study.results import Analysis
from fer_attention.study.store import Manifest, Store


def analyse_folder(folder: Path) -> Analysis:
    """Analyse the study in a folder.

    Raises:
        StudyError: There is no study, or its file is damaged.
        FileNotFoundError: Its folder of runs is gone.
    """
    manifest = Store(folder).manifest()
    return analyse(manifest, read_records(folder))


def analyse(manifest: Manifest, records: Records) -> Analysis:
    """All answers of a study, as far as its finished runs go."""
    study = manifest.study
    planned = {run.id: run for run in manifest.runs}
    runs = {one: run for one, run in records.runs.items() if one in planned}
    conditions = condition_results(manifest, runs)
    matched = Matched(study, conditions, records.predictions)
    questions = study.questions()
    families = tuple(one for question in questions if (one := family(matched, question)))
    found = tuple(result for question in study.interactions for result in interactions(matched, question))
    by_size = tuple(result for question in questions for result in sizes(matched, question))
    by_rank = tuple(
        made for factor in dict.fromkeys(one.factor for one in questions) if (made := ranks(matched, factor))
    )
    return Analysis(
        study=study,
        varied=varied_factors(study),
        conditions=conditions,
        missing=tuple(
            run.title for run in manifest.runs if run.id not in runs and run.id not in records.failed
        ),
        failed=tuple((planned[one].title, why) for one, why in records.failed.items() if one in planned),
        set_aside=tuple(records.set_aside),
        foreign=len(records.runs) - len(runs),
        families=families,
        interactions=found,
        sizes=by_size,
        ranks=by_rank,
        pareto=trade_offs(conditions),
        warnings=tuple((planned[one].title, text) for one, run in runs.items() for text in run.warnings),
        problems=(*_differences(list(runs.values())), *_incomplete(manifest, runs), *matched.problems),
    )


def _differences(runs: Sequence[RunRecord]) -> list[str]:
    """What makes runs of one study not comparable."""
    problems = []
    for name in sorted({run.data.name for run in runs}):
        on_it = [run.data for run in runs if run.data.name == name]
        if len({one.fingerprint for one in on_it}) > 1:
            problems.append(f"{name}: the runs did not have the same images; their fingerprints differ.")
        if len({one.labels for one in on_it}) > 1:
            problems.append(f"{name}: the runs did not have the same labels.")
    if len({run.tta for run in runs}) > 1:
        problems.append("The runs differ in test-time augmentation.")
    keys = sorted({key for run in runs for key in run.environment})
    for key in keys:
        values = sorted({json.dumps(run.environment.get(key)) for run in runs})
        if len(values) > 1:
            problems.append(f"The runs had different environments: {key} was {', '.join(values)}.")
    return problems


def _incomplete(manifest: Manifest, runs: Mapping[str, RunRecord]) -> list[str]:
    """Conditions with fewer runs than planned, those with none at all as well."""
    varied = varied_factors(manifest.study)
    labels = {run.id: label_of(run.factors, varied) or "The only condition" for run in manifest.runs}
    done = Counter(labels[one] for one in runs)
    return [
        f"{label}: {done[label]} of {planned} runs are finished."
        for label, planned in Counter(labels.values()).items()
        if done[label] < planned
    ]
