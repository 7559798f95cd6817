"""Plots of results: conditions with their runs, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from fer_attention.evaluation.figures import ACCENT, CARD, INK, MUTED, WARM, new_figure
from fer_attention.study.report.document import Plot
from fer_attention.study.report.layout import WIDTH, finish, wrapped
from fer_attention.study.report.reading import conditions_on, confidence, data_sets, published, quoted, slug
from fer_attention.study.report.wording import percent, points, span
from fer_attention.study.results import Analysis, ComparisonResult, ConditionResult, Family

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def interval_plots(analysis: Analysis) -> list[Plot]:
    """Accuracy by condition, one plot for each data set."""
    level = percent(confidence(analysis), 0)
    made = []
    for number, data in enumerate(data_sets(analysis), start=1):
        conditions = conditions_on(analysis, data)
        paper = {one.label: value for one in conditions if (value := published(analysis, one)) is not None}
        made.append(
            Plot(
                name=f"intervals-{slug(data, number)}",
                caption=f"Accuracy on {data} by condition. Small dots: single runs. Large dot and line: "
                f"their mean and its {level} % interval."
                + (
                    " Diamonds: the paper's value, by its own protocol; triangles: it lies further out."
                    if paper
                    else ""
                ),
                alternative="; ".join(
                    f"{one.label}: {percent(one.accuracy.mean)} %"
                    + ("" if one.accuracy.low is None else f" ({span(one.accuracy.low, one.accuracy.high)})")
                    for one in conditions
                ),
                draw=partial(_draw_intervals, conditions, paper),
            )
        )
    return made


def _draw_intervals(conditions: Sequence[ConditionResult], paper: Mapping[str, float]) -> Figure:
    labels = [wrapped(condition.label or condition.model) for condition in conditions]
    figure, axes = _rows(labels)
    runs = [run.test.accuracy * 100 for condition in conditions for run in condition.runs]
    for row, condition in enumerate(conditions):
        own = [run.test.accuracy * 100 for run in condition.runs]
        axes.plot(own, [row + 0.2] * len(own), "o", color=MUTED, markersize=3, alpha=0.8, clip_on=False)
        summary = condition.accuracy
        if summary.low is not None and summary.high is not None:
            axes.hlines(row, summary.low * 100, summary.high * 100, color=ACCENT, linewidth=2)
        axes.plot([summary.mean * 100], [row], "o", color=ACCENT, markersize=6)
    # The interval of two runs, or another's value, may be so far out that it would press all else together.
    middle, reach = (min(runs) + max(runs)) / 2, max(max(runs) - min(runs), 0.5)
    low, high = axes.get_xlim()
    low, high = max(low, middle - 3 * reach, -2), min(high, middle + 3 * reach, 102)
    axes.set_xlim(low, high)
    for row, condition in enumerate(conditions):
        if condition.label in paper:
            value = paper[condition.label] * 100
            marker = "<" if value < low else ">" if value > high else "D"
            look = {"markersize": 5, "mfc": "none", "color": WARM, "clip_on": False}
            axes.plot([min(max(value, low), high)], [row], marker, **look)  # type: ignore[arg-type]
    axes.set_xlabel("accuracy on the test images, %")
    return finish(figure)


def forest_plots(analysis: Analysis) -> list[Plot]:
    """Paired differences, one plot for each family."""
    made = []
    for number, family in enumerate(analysis.families, start=1):
        rows = forest_rows(family)
        if not rows:
            continue
        made.append(
            Plot(
                name=f"differences-{slug(family.factor, number)}",
                caption=f"Differences of accuracy over the same replications, {family.factor} against "
                f"{family.baseline}, with {percent(confidence(analysis), 0)} % intervals, each for itself. "
                "Orange and filled: decided after Holm's correction. Shaded: differences too small to matter "
                f"(±{percent(analysis.study.margin)} points). Arrows: the interval goes on.",
                alternative="; ".join(
                    f"{row.label}: {points(quoted(row).difference)} points "
                    f"({span(quoted(row).low, quoted(row).high, points)}), "
                    f"{'decided' if row.decided else 'not decided'}"
                    for row in rows
                ),
                draw=partial(_draw_forest, analysis, family),
            )
        )
    return made


def forest_rows(family: Family) -> list[ComparisonResult]:
    """Each level's pooled comparison, then its single ones where they say more."""
    rows = []
    for pooled in family.pooled:
        rows.append(pooled)
        single = [one for one in family.single if one.level == pooled.level]
        rows += single if len(single) > 1 else []
    alone = {one.level for one in family.pooled}
    return rows + [one for one in family.single if one.level not in alone]


def _draw_forest(analysis: Analysis, family: Family) -> Figure:
    rows = forest_rows(family)
    pooled = {id(row) for row in family.pooled}
    figure, axes = _rows([wrapped(row.label) for row in rows])
    values = [quoted(row) for row in rows]
    margin = analysis.study.margin * 100
    ends = [abs(end) * 100 for value in values for end in value[:3] if end is not None]
    reach = max(abs(value.difference) * 100 for value in values)
    bound = 1.08 * min(max([*ends, 1.5 * margin]), max(4 * reach, 4 * margin))
    axes.axvspan(-margin, margin, color=MUTED, alpha=0.15, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    for at, (row, value) in enumerate(zip(rows, values, strict=True)):
        colour = WARM if row.decided else ACCENT
        if value.low is not None and value.high is not None:
            low, high = value.low * 100, value.high * 100
            axes.hlines(at, max(low, -bound), min(high, bound), color=colour, linewidth=2)
            for end, beyond, marker in ((-bound, low < -bound, "<"), (bound, high > bound, ">")):
                if beyond:
                    axes.plot([end], [at], marker, color=colour, markersize=6, clip_on=False)
        axes.plot(
            [value.difference * 100],
            [at],
            "D" if id(row) in pooled else "o",
            color=colour,
            markersize=7 if id(row) in pooled else 5,
            mfc=colour if row.decided else CARD,
        )
    axes.set_xlim(-bound, bound)
    axes.set_xlabel("difference of accuracy, points")
    return finish(
        figure,
        [
            Line2D([], [], color=WARM, marker="D", label="pooled, decided"),
            Line2D([], [], color=ACCENT, marker="D", mfc=CARD, label="pooled, not decided"),
            Line2D([], [], color=ACCENT, marker="o", mfc=CARD, markersize=5, label="one combination"),
        ],
    )


def _rows(labels: Sequence[str]) -> tuple[Figure, Axes]:
    """A plot with a labelled row for each thing, the first on top."""
    lines = sum(max(1.0, 0.75 * (label.count("\n") + 1)) for label in labels)
    figure = new_figure(WIDTH, 1.3 + 0.3 * lines)
    axes = figure.subplots()
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=INK, alpha=0.06, linewidth=0.8)
    return figure, axes
