"""Tables of a report: frames of formatted cells, the same in HTML, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from fer_attention.study.analysis import StudyAnalysis
from fer_attention.study.analysis.conditions import COSTS, paper_parameter_count, pareto_fronts
from fer_attention.study.report.numbers import (
    MINUS,
    MISSING,
    Formatter,
    count,
    millions,
    p_value,
    percent,
    points,
    short,
    span,
    three_decimals,
    two_decimals,
    whole_percent,
)

TEXT = ("condition", "comparison", "model", "data", "layer", "verdict", "answer", "non-inferior", "levels",
        "gain", "within", "Pareto-optimal in", "level / baseline")  # fmt: skip
"""Columns of text, aligned left; numbers are aligned right."""

ANSWERS = {
    "better": "better",
    "worse": "worse",
    "equivalent": "as good",
    "not worse": "not worse",
    "undecided": "not decided",
}
"""Words for verdicts in the table that a reader sees first."""

Columns = Mapping[str, tuple[str, Formatter]]
"""Column of a frame and format of its cells, by heading."""


class ReportTable(NamedTuple):
    """Table of formatted cells; the first column names the row, `name` is that of its file."""

    name: str
    title: str
    frame: pd.DataFrame


def report_tables(analysis: StudyAnalysis) -> dict[str, ReportTable]:
    """Return all tables that have rows, by name.

    `conditions-1` is of the first data set, `comparisons-1` of the first family, `contrasts-1` of the first
    interaction, `bias-1` of the first backbone.
    """
    return {table.name: table for table in _tables(analysis) if len(table.frame)}


def _tables(analysis: StudyAnalysis) -> Iterator[ReportTable]:
    level = f"{whole_percent(1 - analysis.study.alpha)} % interval"
    yield _answer(analysis, level)
    for number, (data, group) in enumerate(groups(analysis.conditions, "data"), start=1):
        yield ReportTable(f"conditions-{number}", f"Conditions on {data}", _conditions(group, level))
    yield ReportTable("paper", "Comparison with the paper", _paper(analysis.conditions, level))
    for number, group in groups(analysis.comparisons, "family"):
        title = f"{group['factor'].iloc[0].capitalize()} vs. {group['baseline'].iloc[0]}"
        yield ReportTable(f"comparisons-{number}", title, _comparisons(group, level))
    for number, group in groups(analysis.contrasts, "question"):
        question = analysis.study.interactions[number - 1]
        title = f"Interaction contrasts, {question.first} × {question.second}"
        yield ReportTable(f"contrasts-{number}", title, _contrasts(group, level))
    yield ReportTable("sizes", "Gain by number of training images", _sizes(analysis, level))
    yield ReportTable("costs", "Accuracy and costs by condition", _costs(analysis))
    title = "Gain in accuracy and cost relative to the baseline"
    yield ReportTable("cost-ratios", title, _ratios(analysis.costs, level))
    for number, (backbone, group) in enumerate(groups(analysis.bias, "backbone"), start=1):
        yield ReportTable(f"bias-{number}", f"Mean activation by layer, {backbone}", _bias(group))


def groups(frame: pd.DataFrame, column: str | list[str]) -> Iterable[tuple[Any, pd.DataFrame]]:
    """Group rows by a column, in order; a table without rows has no columns and gives no groups."""
    return frame.groupby(column, sort=False) if len(frame) else ()


def _formatted(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Format the cells of each column; columns without any value are omitted.

    The column `low` is formatted as the interval from `low` to `high`.
    """
    cells = {}
    for heading, (name, formatted) in columns.items():
        if name == "low" and name in frame:
            ends = zip(frame["low"], frame["high"], strict=True)
            cells[heading] = pd.Series([span(*both, formatted) for both in ends], frame.index)
        elif name in frame and frame[name].notna().any():
            cells[heading] = frame[name].map(formatted)
    return pd.DataFrame(cells)


def _answer(analysis: StudyAnalysis, level: str) -> ReportTable:
    """Return the table that a reader sees first: the pooled comparisons, else the accuracies."""
    if not len(analysis.comparisons):
        columns: Columns = {
            "condition": ("condition", str),
            "data": ("data", str),
            "runs": ("n", count),
            "accuracy %": ("accuracy", percent),
            level: ("low", percent),
        }
        return ReportTable("answer", "Accuracy", _formatted(analysis.conditions, columns))
    columns = {
        "comparison": ("names", str),
        "difference, points": ("mean", points),
        level: ("low", points),
        "pairs": ("n", count),
        "answer": ("verdict", ANSWERS.__getitem__),
    }
    pooled = analysis.pooled
    names = pooled["level"] + " vs. " + pooled["baseline"]
    return ReportTable("answer", "Differences in accuracy", _formatted(pooled.assign(names=names), columns))


def _conditions(group: pd.DataFrame, level: str) -> pd.DataFrame:
    columns: Columns = {
        "condition": ("condition", str),
        "runs": ("n", count),
        "accuracy %": ("accuracy", percent),
        level: ("low", percent),
        "sd": ("sd", percent),
        "without copies %": ("accuracy_new", percent),
        "balanced %": ("balanced_accuracy", percent),
        "macro-F1 %": ("macro_f1", percent),
        "ECE %": ("calibration_error", percent),
        "validation %": ("validation_accuracy", percent),
        "paper %": ("published", percent),
    }
    return _formatted(group, columns)


def _paper(conditions: pd.DataFrame, level: str) -> pd.DataFrame:
    shown = conditions[conditions["published"].notna()]
    frame = shown.assign(
        difference=shown["accuracy"] - shown["published"],
        counted=shown["model"].map(paper_parameter_count),
    )
    columns: Columns = {
        "condition": ("condition", str),
        "model": ("model", str),
        "data": ("data", str),
        "runs": ("n", count),
        "ours %": ("accuracy", percent),
        level: ("low", percent),
        "paper %": ("published", percent),
        f"ours {MINUS} paper, points": ("difference", points),
        "parameters M": ("parameters", millions),
        "parameters M, paper's convention": ("counted", millions),
    }
    return _formatted(frame, columns)


def _comparisons(group: pd.DataFrame, level: str) -> pd.DataFrame:
    columns: Columns = {
        "comparison": ("label", str),
        "pairs": ("n", count),
        "difference, points": ("mean", points),
        level: ("low", points),
        "p": ("p", p_value),
        "p (Holm)": ("p_holm", p_value),
        "p not worse": ("p_not_worse", p_value),
        "non-inferior": ("not_worse", lambda shown: "yes" if shown else "not shown"),
        "p equivalent": ("p_equivalent", p_value),
        "verdict": ("verdict", str),
        "pairs needed": ("needed", count),
        "detectable, points": ("detectable", percent),
    }
    return _formatted(group, columns)


def _contrasts(group: pd.DataFrame, level: str) -> pd.DataFrame:
    levels = [
        f"{row.first} with {row.second}{f', {row.within}' if row.within else ''}"
        for row in group.itertuples()
    ]
    columns: Columns = {
        "levels": ("levels", str),
        "replications": ("n", count),
        "deviation from the sum, points": ("mean", points),
        level: ("low", points),
        "p": ("p", p_value),
        "p (Holm)": ("p_holm", p_value),
        "p additive": ("p_equivalent", p_value),
        "verdict": ("verdict", str),
        "replications needed": ("needed", count),
    }
    return _formatted(group.assign(levels=levels), columns)


def _sizes(analysis: StudyAnalysis, level: str) -> pd.DataFrame:
    if not len(analysis.slopes):
        return pd.DataFrame()
    keys = ["family", "level", "within"]
    means = analysis.gains.pivot_table("gain", keys, "images").add_prefix("at ").reset_index()
    frame = analysis.slopes.assign(
        gain=analysis.slopes["level"] + " over " + analysis.slopes["baseline"]
    ).merge(means, on=keys)
    sizes = sorted(analysis.gains["images"].unique())
    columns: Columns = {
        "gain": ("gain", str),
        "within": ("within", lambda text: text or MISSING),
        **{f"{count(size)} images": (f"at {size}", points) for size in sizes},
        "slope per doubling, points": ("mean", points),
        level: ("low", points),
        "p": ("p", p_value),
        "p (Holm)": ("p_holm", p_value),
    }
    return _formatted(frame, columns)


def _costs(analysis: StudyAnalysis) -> pd.DataFrame:
    fronts = pareto_fronts(analysis.conditions)
    named = [
        ", ".join(name for cost, name in COSTS.items() if getattr(row, f"front_{cost}")) or MISSING
        for row in fronts.itertuples()
    ]
    optimal = pd.Series(named, fronts.index).reindex(analysis.conditions.index, fill_value=MISSING)
    frame = analysis.conditions.assign(
        optimal=optimal if len(fronts) > 1 else None,
        minutes=analysis.conditions["train_seconds"] / 60,
        millions=analysis.conditions["macs"] / 1e6,
    )
    columns: Columns = {
        "condition": ("condition", str),
        "accuracy %": ("accuracy", percent),
        "parameters M": ("parameters", millions),
        "MACs M": ("millions", short),
        "training time, min": ("minutes", short),
        "training images / s": ("images_per_second", short),
        "latency, ms": ("latency_ms", short),
        "peak memory, MB": ("peak_memory_mb", short),
        "Pareto-optimal in": ("optimal", str),
    }
    return _formatted(frame, columns)


def _ratios(costs: pd.DataFrame, level: str) -> pd.DataFrame:
    if not len(costs):
        return costs
    columns: Columns = {
        "level / baseline": ("names", str),
        "difference, points": ("mean", points),
        level: ("low", points),
        "parameters": ("parameters", three_decimals),
        "MACs": ("macs", three_decimals),
        "training time": ("train_seconds", two_decimals),
        "time per training image": ("seconds_per_image", two_decimals),
        "latency": ("latency_ms", two_decimals),
        "memory": ("peak_memory_mb", two_decimals),
        "pairs of conditions": ("pairs", count),
    }
    return _formatted(costs.assign(names=costs["level"] + " / " + costs["baseline"]), columns)


def _bias(group: pd.DataFrame) -> pd.DataFrame:
    means = group.pivot_table("mean", "layer", "activation", sort=False)
    sizes = group.pivot_table("size", "activation", aggfunc="mean", sort=False)["size"]
    cells = pd.concat([means, sizes.to_frame("mean absolute value").T]).map(three_decimals)
    return cells.rename_axis("layer").reset_index()
