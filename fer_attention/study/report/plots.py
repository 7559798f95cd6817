"""Plots of a report: results with their intervals, and their dependence on each varied factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fer_attention.rendering.figures import ACCENT, CARD, MUTED, SERIES, WARM
from fer_attention.study.analysis import StudyAnalysis
from fer_attention.study.analysis.conditions import pareto_fronts
from fer_attention.study.analysis.interactions import fitted_lines
from fer_attention.study.analysis.runs import varied_factors
from fer_attention.study.analysis.statistics import mean_interval
from fer_attention.study.report.drawing import (
    MARKERS,
    Roles,
    finish,
    labelled_rows,
    level_names,
    levels_legend,
    panels,
    panels_of,
    wrapped,
)
from fer_attention.study.report.names import label_name
from fer_attention.study.report.tables import groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fer_attention.study.config import StudyConfig

AXES = {
    "parameters": ("parameters, M", 1e6),
    "macs": ("multiply-accumulates, M", 1e6),
    "train_seconds": ("training time, min", 60),
    "latency_ms": ("latency, ms", 1),
}


NO_BREAK = "\N{NO-BREAK SPACE}"


class Plot(NamedTuple):
    """Figure with its file name and its title, which is also its alternative text."""

    name: str
    title: str
    figure: Figure


def report_plots(analysis: StudyAnalysis) -> dict[str, Plot]:
    """Return all plots that have data, by name; numbered like the tables."""
    return {plot.name: plot for plot in _plots(analysis)}


def _plots(analysis: StudyAnalysis) -> Iterator[Plot]:
    runs = analysis.runs.groupby("data", sort=False)
    if len(analysis.comparisons):
        yield Plot("answer", "Differences in accuracy", _forest(analysis.pooled, analysis.study.margin * 100))
    for number, (data, group) in enumerate(groups(analysis.conditions, "data"), start=1):
        figure = _intervals(group, runs.get_group(data))
        yield Plot(f"conditions-{number}", f"Accuracy on {data} by condition", figure)
        if len(analysis.conditions) > 1:
            yield Plot(f"costs-{number}", f"Accuracy against costs on {data}", _pareto(analysis, group))
    for number, family in groups(analysis.comparisons, "family"):
        title = f"Differences in accuracy, {family['factor'].iloc[0]} vs. {family['baseline'].iloc[0]}"
        yield Plot(f"comparisons-{number}", title, _forest(family, analysis.study.margin * 100))
    for number, tests in groups(analysis.interactions, "question"):
        title = f"Accuracy by {tests['first'].iloc[0]} and {tests['second'].iloc[0]}"
        yield Plot(f"contrasts-{number}", title, _interaction(analysis, number))
    for factor, gains in groups(analysis.gains, "factor"):
        title = f"Gain of {factor} by number of training images"
        yield Plot(f"sizes-{factor}", title, _sizes(analysis, factor, gains))
    if len(analysis.epochs):
        yield Plot("training", "Validation accuracy by epoch", _training(analysis))
    if len(analysis.bias):
        yield Plot("bias", "Mean activation by depth", _bias(analysis.bias))


def _intervals(conditions: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    figure, axes = labelled_rows(list(conditions["condition"]))
    for at, row in enumerate(conditions.itertuples()):
        own = runs.loc[runs["condition"] == row.condition, "test_accuracy"] * 100
        axes.plot(own, [at + 0.2] * len(own), "o", color=MUTED, markersize=3, alpha=0.8, clip_on=False)
        axes.hlines(at, row.low * 100, row.high * 100, color=ACCENT, linewidth=2)
        axes.plot([row.accuracy * 100], [at], "o", color=ACCENT, markersize=6)
    # The interval of two runs, or the paper's value, may be so far out that it would squeeze everything else.
    lowest, highest = runs["test_accuracy"].min() * 100, runs["test_accuracy"].max() * 100
    middle, reach = (lowest + highest) / 2, max(highest - lowest, 0.5)
    low, high = axes.get_xlim()
    low, high = max(low, middle - 3 * reach, -2), min(high, middle + 3 * reach, 102)
    axes.set(xlim=(low, high), xlabel="accuracy on the test images, %")
    for at, value in enumerate(conditions["published"] * 100):
        if not np.isnan(value):
            marker = "<" if value < low else ">" if value > high else "D"
            position = float(np.clip(value, low, high))
            axes.plot([position], [at], marker, color=WARM, markersize=5, mfc="none", clip_on=False)
    return finish(figure)


def _forest(family: pd.DataFrame, margin: float) -> Figure:
    figure, axes = labelled_rows([_unbroken_baseline(label) for label in family["label"]])
    ends = (family[["low", "high"]].abs() * 100).to_numpy().ravel()
    reach = (family["mean"].abs() * 100).max()
    widest = max([1.5 * margin, reach, *ends[~np.isnan(ends)]])
    bound = 1.08 * min(widest, max(4 * reach, 4 * margin))
    axes.axvspan(-margin, margin, color=MUTED, alpha=0.15, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    for at, row in enumerate(family.itertuples()):
        decided, low, high = row.verdict != "undecided", row.low * 100, row.high * 100
        colour = WARM if decided else ACCENT
        axes.hlines(at, max(low, -bound), min(high, bound), color=colour, linewidth=2)
        for end, beyond, marker in ((-bound, low < -bound, "<"), (bound, high > bound, ">")):
            if beyond:
                axes.plot([end], [at], marker, color=colour, markersize=6, clip_on=False)
        look = ("D", 7) if row.pooled else ("o", 5)
        mean = [row.mean * 100]
        axes.plot(mean, [at], look[0], color=colour, markersize=look[1], mfc=colour if decided else CARD)
    axes.set(xlim=(-bound, bound), xlabel="difference in accuracy, points")
    legend = [
        Line2D([], [], color=WARM, marker="D", label="decided"),
        Line2D([], [], color=ACCENT, marker="D", mfc=CARD, label="undecided"),
    ]
    if not family["pooled"].all():
        legend.append(
            Line2D([], [], color=MUTED, marker="o", mfc=CARD, markersize=5, label="single combination")
        )
    return finish(figure, legend)


def _unbroken_baseline(label: str) -> str:
    """Let a label break into lines before its baseline, not within it."""
    level, _, baseline = label.partition(" vs. ")
    return f"{level} vs.{NO_BREAK}{baseline.replace(' ', NO_BREAK)}"


def _interaction(analysis: StudyAnalysis, number: int) -> Figure:
    study, question = analysis.study, analysis.study.interactions[number - 1]
    first, second = question.first, question.second
    others = [name for name in varied_factors(study) if name not in (first, second)]
    positions = {level: at for at, level in enumerate(study.levels(second))}
    figure, grid = panels_of(analysis.conditions, _titles(study, analysis.conditions, others))
    for axes, group in grid:
        for at, level in enumerate(study.levels(first)):
            cells = group[group[first] == level]
            colour = SERIES[at % len(SERIES)]
            x = cells[second].map(positions) + (at - (len(study.levels(first)) - 1) / 2) * 0.06
            axes.plot(x, cells["accuracy"] * 100, "o-", color=colour, markersize=4)
            axes.vlines(x, cells["low"] * 100, cells["high"] * 100, color=colour, linewidth=1, alpha=0.7)
        axes.set_xticks(range(len(positions)), [wrapped(name, 18) for name in level_names(study, second)])
        axes.set(xlim=(-0.4, len(positions) - 0.6), ylabel="accuracy, %")
    return finish(figure, levels_legend(level_names(study, first)))


def _titles(study: StudyConfig, frame: pd.DataFrame, factors: Sequence[str]) -> list[str]:
    """Return the title of the panel of each row, which names its levels of some factors."""
    return [label_name(study, row._asdict(), factors) for row in frame.itertuples()]


def _sizes(analysis: StudyAnalysis, factor: str, gains: pd.DataFrame) -> Figure:
    levels = level_names(analysis.study, factor)
    figure, grid = panels_of(gains, list(gains["within"]))
    handles: dict[str, Line2D] = {}
    for axes, group in grid:
        axes.axhline(0, color=MUTED, linewidth=1)
        for level, own in group.groupby("level", sort=False):
            number = levels.index(level)
            look: dict[str, Any] = {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % 4]}
            x = np.linspace(np.log2(own["images"].min()), np.log2(own["images"].max()), 40)
            lines = fitted_lines(own)
            fits = lines["intercept"].to_numpy()[:, None] + lines["slope"].to_numpy()[:, None] * x
            axes.plot(x, fits.mean(axis=0) * 100, color=look["color"])
            low, high = np.array([mean_interval(one, alpha=analysis.study.alpha) for one in fits.T]).T * 100
            axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
            axes.plot(np.log2(own["images"]), own["gain"] * 100, linestyle="", markersize=3, **look)
            handles[level] = Line2D([], [], label=level, **look)
        sizes = sorted(group["images"].unique())
        axes.set_xticks(np.log2(sizes), [f"{size:,}" for size in sizes])
        axes.set(xlabel="training images", ylabel="gain, points")
    return finish(figure, list(handles.values()))


def _pareto(analysis: StudyAnalysis, conditions: pd.DataFrame) -> Figure:
    roles, shown = Roles.of(analysis, rounds=len(MARKERS)), pareto_fronts(conditions)
    figure, grid = panels([""] * len(AXES), height=2.1)
    for axes, (cost, (heading, unit)) in zip(grid, AXES.items(), strict=True):
        front = shown[shown[f"front_{cost}"]].sort_values(cost)
        axes.plot(front[cost] / unit, front["accuracy"] * 100, color=MUTED, linewidth=1, zorder=1)
        ring: dict[str, Any] = {"markersize": 11, "mfc": "none", "color": MUTED, "markeredgewidth": 1}
        axes.plot(front[cost] / unit, front["accuracy"] * 100, "o", **ring)
        for row in shown.itertuples():
            look = roles.look(row, markers=True)
            axes.plot([getattr(row, cost) / unit], [row.accuracy * 100], markersize=5, **look)
        axes.margins(0.12)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set(xlabel=heading, ylabel="accuracy, %")
    return finish(figure, roles.handles(markers=True))


def _training(analysis: StudyAnalysis) -> Figure:
    """Plot mean and range over the runs of a condition, up to the last epoch that all of them reached."""
    roles = Roles.of(analysis)
    figure, grid = panels_of(analysis.epochs, _titles(analysis.study, analysis.epochs, roles.panels))
    for axes, group in grid:
        for _, own in group.groupby("condition", sort=False):
            table = own.pivot_table("validation_accuracy", "epoch", ["seed", "fold"]).dropna() * 100
            look = roles.look(next(own.itertuples()))
            axes.plot(table.index, table.mean(axis=1), marker="o" if len(table) == 1 else "", **look)
            low, high = table.min(axis=1), table.max(axis=1)
            axes.fill_between(table.index, low, high, color=look["color"], alpha=0.1, linewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set(xlabel="epoch", ylabel="validation accuracy, %")
    return finish(figure, roles.handles())


def _bias(bias: pd.DataFrame) -> Figure:
    names = list(bias["activation"].unique())
    several = bias["backbone"].nunique() > 1
    figure, grid = panels_of(bias, [name if several else "" for name in bias["backbone"]])
    for axes, group in grid:
        axes.axhline(0, color=MUTED, linewidth=1)
        means = group.pivot_table("mean", "layer", "activation", sort=False)
        for name in means:
            colour = SERIES[names.index(name) % len(SERIES)]
            axes.plot(range(1, len(means) + 1), means[name], "o-", color=colour, markersize=3)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set(xlabel="layer", ylabel="mean activation")
    return finish(figure, levels_legend(names))
