"""The parts of a report, in order; those without content are left out."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from fer_attention.study.report import curves, plots, tables
from fer_attention.study.report.bias import bias_plots, bias_shifts, bias_tables
from fer_attention.study.report.comparison_tables import comparison_tables
from fer_attention.study.report.costs import cost_ratios
from fer_attention.study.report.document import Block, Bullets, Code, Document, Section, Text
from fer_attention.study.report.explain import explanations
from fer_attention.study.report.factor_tables import (
    interaction_tables,
    pareto_table,
    rank_tables,
    size_table,
)
from fer_attention.study.report.reading import runs_of
from fer_attention.study.report.sentence import Sentence
from fer_attention.study.results import Analysis


def document_of(analysis: Analysis, summary: Sequence[Sentence]) -> Document:
    """The whole report."""
    parts = [
        Section("answer", "The answer", _answer(summary)),
        Section("conditions", "Conditions", _conditions(analysis)),
        Section("plots", "Plots", _plots(analysis)),
        Section("comparisons", "Comparisons", tuple(comparison_tables(analysis))),
        Section("interaction", "Interaction", tuple(interaction_tables(analysis))),
        Section("size-and-ranks", "Training size, ranks and trade-offs", _size_and_ranks(analysis)),
        Section("costs", "Costs", _costs(analysis)),
        Section("bias-shift", "Bias shift", _bias(analysis)),
        Section("failures", "Failures and gaps", _failures(analysis)),
        Section("method", "How it was done", _method(analysis)),
    ]
    study = analysis.study
    return Document(study.title, study.question, tuple(part for part in parts if part.blocks))


def _answer(summary: Sequence[Sentence]) -> tuple[Block, ...]:
    topics = dict.fromkeys(sentence.topic for sentence in summary)
    return tuple(
        Bullets(tuple(one.text for one in summary if one.topic == topic), heading=topic) for topic in topics
    )


def _conditions(analysis: Analysis) -> tuple[Block, ...]:
    paper = tables.paper_table(analysis)
    return (*tables.condition_tables(analysis), *([paper] if paper else []))


def _plots(analysis: Analysis) -> tuple[Block, ...]:
    return (
        *plots.interval_plots(analysis),
        *plots.forest_plots(analysis),
        *curves.interaction_plots(analysis),
        *curves.size_plots(analysis),
        *curves.pareto_plots(analysis),
        *curves.training_plots(analysis),
    )


def _size_and_ranks(analysis: Analysis) -> tuple[Block, ...]:
    size, pareto = size_table(analysis), pareto_table(analysis)
    return (*([size] if size else []), *rank_tables(analysis), *([pareto] if pareto else []))


def _costs(analysis: Analysis) -> tuple[Block, ...]:
    ratios = tables.ratio_table(cost_ratios(analysis))
    return (tables.cost_table(analysis), *([ratios] if ratios else []))


def _bias(analysis: Analysis) -> tuple[Block, ...]:
    shifts = bias_shifts(analysis)
    if not shifts:
        return ()
    about = Text(
        "An activation whose mean is not zero acts as a bias on the next layer; ELU is meant to lessen that "
        "(Clevert et al. 2016, arXiv:1511.07289)."
    )
    return (about, *bias_plots(shifts), *bias_tables(shifts))


def _failures(analysis: Analysis) -> tuple[Block, ...]:
    lists = {
        "Training warnings": [f"{title}: {sentence}" for title, sentence in analysis.warnings],
        "Failed runs": [f"{title}: {reason}" for title, reason in analysis.failed],
        "Missing runs": [*analysis.missing],
        "Damaged folders, left out": [f"{one.folder.name}: {one.reason}" for one in analysis.set_aside],
        "Problems": [*analysis.problems],
    }
    blocks: list[Block] = [Bullets(tuple(items), heading=title) for title, items in lists.items() if items]
    if analysis.foreign:
        blocks.append(
            Text(
                "Finished runs in the folder that the study as it is now does not plan, and that are left "
                f"out: {analysis.foreign}."
            )
        )
    return tuple(blocks) or (Text("All planned runs are finished, and none has a training warning."),)


def _method(analysis: Analysis) -> tuple[Block, ...]:
    study = analysis.study
    runs = runs_of(analysis.conditions)
    first = runs[0]
    data = [
        f"{one.data.name}: {one.data.train_images:,} training, {one.data.validation_images:,} validation and "
        f"{one.data.test_images:,} test images, {one.data.copies:,} of them copies; labels "
        f"{', '.join(one.data.labels)}; fingerprint {one.data.fingerprint}"
        for one in {run.data.name: run for run in reversed(runs)}.values()
    ]
    environments = sorted({json.dumps(run.environment, sort_keys=True) for run in runs})
    told = study.model_dump(mode="json", exclude={"data": {"__all__": {"path"}}}, exclude_defaults=True)
    asked = " ".join(f"--data {name}=PATH" for name, one in study.data.items() if one.format != "synthetic")
    return (
        Bullets(tuple(data), heading="Data, of the first run of each set"),
        Bullets(tuple(_environment(text) for text in environments), heading="Environment"),
        Code(
            f"fer-attention study run study.yaml --output DIR {asked}".strip()
            + "\nfer-attention study report DIR",
            heading="To repeat it, with the lines below as study.yaml",
            language="sh",
        ),
        Code(_yaml(told), heading="The study", language="yaml"),
        Code(
            _yaml(first.config),
            heading=f"Recipe {study.recipe} with all changes, as the first run ({first.model}) had it",
            language="yaml",
        ),
        *explanations(analysis),
    )


def _environment(text: str) -> str:
    return ", ".join(f"{name} {value}" for name, value in json.loads(text).items())


def _yaml(fields: object) -> str:
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100).strip()
