"""Tables of conditions: what each came to, what it cost, and what the paper says."""

from __future__ import annotations

from collections.abc import Sequence

from fer_attention.study.config import level_text
from fer_attention.study.paper import paper_protocol, paper_remark
from fer_attention.study.report.costs import CostRatio
from fer_attention.study.report.document import Column, Table
from fer_attention.study.report.reading import (
    conditions_on,
    confidence,
    data_sets,
    protocol_text,
    published,
    runs_of,
    slug,
    tta_text,
)
from fer_attention.study.report.wording import (
    MISSING,
    count,
    decimal,
    millions,
    percent,
    points,
    short,
    span,
)
from fer_attention.study.results import Analysis, ConditionResult, Summary


def condition_tables(analysis: Analysis) -> list[Table]:
    """One for each data set."""
    names = data_sets(analysis)
    return [
        _conditions(
            analysis,
            data,
            name="conditions" if len(names) == 1 else f"conditions-{slug(data, number)}",
        )
        for number, data in enumerate(names, start=1)
    ]


def _conditions(analysis: Analysis, data: str, *, name: str) -> Table:
    conditions = conditions_on(analysis, data)
    level = percent(confidence(analysis), 0)
    new = any(one.accuracy_new is not None for one in conditions)
    paper = any(published(analysis, one) is not None for one in conditions)
    columns = [
        Column("condition", text=True),
        Column("runs"),
        Column("accuracy %"),
        Column(f"{level} % interval"),
        Column("sd"),
        *([Column("without copies %")] if new else []),
        Column("balanced %"),
        Column("macro-F1 %"),
        Column("ECE %"),
        Column("validation %"),
        *([Column("paper %")] if paper else []),
    ]
    return Table(
        name=name,
        title=f"Conditions on {data}",
        columns=tuple(columns),
        rows=tuple(_condition(analysis, one, new=new, paper=paper) for one in conditions),
        note=" ".join([setting_of(analysis, data), *([paper_note(data)] if paper else [])]),
    )


def _condition(analysis: Analysis, one: ConditionResult, *, new: bool, paper: bool) -> tuple[str, ...]:
    return (
        one.label or one.model,
        f"{len(one.runs)} of {one.planned}",
        percent(one.accuracy.mean),
        _interval(one.accuracy),
        percent(one.accuracy.sd),
        *([percent(one.accuracy_new.mean if one.accuracy_new else None)] if new else []),
        percent(one.balanced_accuracy.mean),
        percent(one.macro_f1.mean),
        percent(one.calibration_error.mean),
        percent(one.validation_accuracy.mean),
        *([percent(published(analysis, one))] if paper else []),
    )


def _interval(summary: Summary) -> str:
    return span(summary.low, summary.high)


def setting_of(analysis: Analysis, data: str) -> str:
    """What stands beside every accuracy on a data set: images, seeds, protocol, selection, views."""
    runs = runs_of(conditions_on(analysis, data))
    seeds = sorted({run.seed for run in runs})
    views = sorted({run.tta for run in runs})
    copies = sorted({run.data.copies for run in runs})
    parts = [
        f"Test images: {between([run.data.test_images for run in runs])}",
        f"protocol: {protocol_text(runs)}",
        f"epochs selected on {between([run.data.validation_images for run in runs])} validation images",
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({', '.join(map(str, seeds))})",
        " and ".join(map(tta_text, views)),
    ]
    text = "; ".join(parts) + "."
    if copies[-1]:
        text += f" {between(copies)} of the test images are, pixel for pixel, also training images."
    return f"{text} Means over runs; the interval is of that mean (t), sd over the runs, in points."


def between(numbers: Sequence[int]) -> str:
    """One number, or from the least to the largest."""
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def paper_note(data: str) -> str:
    """By which protocol the paper's numbers were made: they stand beside ours, and are not comparable."""
    return f"Paper: Miskow and Altahhan 2022, arXiv:2410.17740, all with ELU; {data}: {paper_protocol(data)}."


def paper_table(analysis: Analysis) -> Table | None:
    """Ours beside the paper's; None where the paper has none of the conditions."""
    shown = [one for one in analysis.conditions if published(analysis, one) is not None]
    if not shown:
        return None
    level = percent(confidence(analysis), 0)
    sets = dict.fromkeys(one.data.name for one in shown)
    return Table(
        name="paper",
        title="Beside the paper's table",
        columns=(
            Column("condition", text=True),
            Column("model", text=True),
            Column("data", text=True),
            Column("runs"),
            Column("ours %"),
            Column(f"{level} % interval"),
            Column("paper %"),
            Column("ours - paper, points"),
            Column("parameters M"),
            Column("by the paper's convention M"),
        ),
        rows=tuple(_beside(one) for one in shown),
        note=" ".join(
            [
                *(setting_of(analysis, name) for name in sets),
                *(paper_note(name) for name in sets),
                *(
                    f"The paper's value of {one.model} on {one.data.name}: {remark}."
                    for one in shown
                    if (remark := paper_remark(one.model, one.data.name))
                ),
                "The differences hold protocol, recipe and model width as well, and are no test of the "
                "paper.",
            ]
        ),
    )


def _beside(one: ConditionResult) -> tuple[str, ...]:
    theirs = one.published or 0.0  # shown are only those that have it
    return (
        one.label or one.model,
        one.model,
        one.data.name,
        f"{len(one.runs)}",
        percent(one.accuracy.mean),
        _interval(one.accuracy),
        percent(one.published),
        points(one.accuracy.mean - theirs),
        millions(one.parameters),
        millions(one.paper_parameters),
    )


def cost_table(analysis: Analysis) -> Table:
    """What each condition takes."""
    memory = any(one.peak_memory_mb is not None for one in analysis.conditions)
    paper = any(one.paper_parameters is not None for one in analysis.conditions)
    machines = {str(run.environment.get("device", "unknown")) for run in runs_of(analysis.conditions)}
    return Table(
        name="costs",
        title="Costs by condition",
        columns=(
            Column("condition", text=True),
            Column("parameters M"),
            *([Column("by the paper's convention M")] if paper else []),
            Column("MACs M"),
            Column("training of a run, min"),
            Column("training images / s"),
            Column("one image, ms"),
            *([Column("peak memory, MB")] if memory else []),
        ),
        rows=tuple(
            (
                one.label or one.model,
                millions(one.parameters),
                *([millions(one.paper_parameters)] if paper else []),
                short(one.macs / 1e6),
                short(one.train_seconds / 60),
                short(one.images_per_second),
                short(one.latency_ms),
                *([short(one.peak_memory_mb)] if memory else []),
            )
            for one in analysis.conditions
        ),
        note="Times are medians over the runs, on "
        + ", ".join(sorted(machines))
        + "; they hang on what else the "
        "machine did. Training time holds validation and what early stops save. MACs: multiply-accumulates "
        "for one image." + (" The paper's convention counts no batch norm." if paper else ""),
    )


def ratio_table(ratios: Sequence[CostRatio]) -> Table | None:
    """Costs of each level over its baseline's; None without any."""
    if not ratios:
        return None
    memory = any(one.peak_memory_mb is not None for one in ratios)
    return Table(
        name="cost-ratios",
        title="Costs over those of the baseline",
        columns=(
            Column("level / baseline", text=True),
            Column("pairs"),
            Column("parameters"),
            Column("MACs"),
            Column("training of a run"),
            Column("a training image"),
            Column("one image"),
            *([Column("memory")] if memory else []),
        ),
        rows=tuple(
            (
                f"{level_text(one.factor, one.level)} / {level_text(one.factor, one.baseline)}",
                f"{one.pairs}",
                decimal(one.parameters, 3),
                decimal(one.macs, 3),
                decimal(one.train_seconds),
                decimal(one.seconds_per_image),
                decimal(one.latency_ms),
                *([decimal(one.peak_memory_mb) if one.peak_memory_mb else MISSING] if memory else []),
            )
            for one in ratios
        ),
        note="Medians over pairs of conditions that differ in nothing else. Below 1 is cheaper.",
    )
