"""Plots of how results change: with another factor, training size, cost, epochs and depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fer_attention.evaluation.figures import MUTED, SERIES
from fer_attention.study.config import level_text
from fer_attention.study.report.document import Plot
from fer_attention.study.report.layout import MARKERS, Roles, finish, levels_text, panels, wrapped
from fer_attention.study.report.reading import agrees, confidence, data_sets, slug
from fer_attention.study.report.wording import percent, points
from fer_attention.study.results import Analysis, ConditionResult, InteractionResult, ParetoPoint, SizeResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COSTS: dict[str, tuple[str, Callable[[ConditionResult], float]]] = {
    "parameters": ("parameters, M", lambda one: one.parameters / 1e6),
    "macs": ("multiply-accumulates, M", lambda one: one.macs / 1e6),
    "train_seconds": ("training of a run, min", lambda one: one.train_seconds / 60),
    "latency_ms": ("one image, ms", lambda one: one.latency_ms),
}
"""Costs that accuracy is held against, as axes show them."""


def interaction_plots(analysis: Analysis) -> list[Plot]:
    """Mean accuracy by two factors, a plot for each question, a panel for each rest."""
    made = []
    for number, question in enumerate(analysis.study.interactions, start=1):
        results = [one for one in analysis.interactions if one.question == question]
        if not results:
            continue
        made.append(
            Plot(
                name=f"interaction-{number}",
                caption=f"Accuracy by {question.first} and {question.second}: means with "
                f"{percent(confidence(analysis), 0)} % intervals. Parallel lines: the gains add up.",
                alternative=f"Lines of mean accuracy over {question.second}, one for each "
                f"{question.first}; the table of conditions has the numbers.",
                draw=partial(_draw_interactions, analysis, results),
            )
        )
    return made


def _draw_interactions(analysis: Analysis, results: Sequence[InteractionResult]) -> Figure:
    figure, grid = panels([levels_text(dict(result.within)) for result in results])
    handles: list[Line2D] = []
    for axes, result in zip(grid, results, strict=True):
        first, second = result.question.first, result.question.second
        levels = analysis.study.levels(first)
        handles = []
        for number, level in enumerate(levels):
            colour = SERIES[number % len(SERIES)]
            shift = (number - (len(levels) - 1) / 2) * 0.06
            cells = []
            for at, other in enumerate(analysis.study.levels(second)):
                wanted = {**result.within, first: level, second: other}
                cells += [(at + shift, one.accuracy) for one in analysis.conditions if agrees(one, wanted)]
            places = [at for at, _ in cells]
            axes.plot(places, [one.mean * 100 for _, one in cells], "o-", color=colour, markersize=4)
            for place, one in cells:
                if one.low is not None and one.high is not None:
                    axes.vlines(place, one.low * 100, one.high * 100, color=colour, linewidth=1, alpha=0.7)
            handles.append(Line2D([], [], color=colour, label=level_text(first, level)))
        names = [level_text(second, level) for level in analysis.study.levels(second)]
        axes.set_xticks(range(len(names)), [wrapped(name, 18) for name in names])
        axes.set_xlim(-0.4, len(names) - 0.6)
        axes.set_ylabel("accuracy, %")
    return finish(figure, handles)


def size_plots(analysis: Analysis) -> list[Plot]:
    """Gains against the number of training images, one plot for each factor."""
    made = []
    factors = list(dict.fromkeys(result.factor for result in analysis.sizes))
    for number, factor in enumerate(factors, start=1):
        results = [result for result in analysis.sizes if result.factor == factor]
        made.append(
            Plot(
                name=f"size-{slug(factor, number)}",
                caption=f"Gain of {factor} over {results[0].baseline} against the number of training images: "
                f"dots are pairs of runs, the line is the mean fit on log2 of the number, the band its "
                f"{percent(confidence(analysis), 0)} % interval for the mean.",
                alternative="; ".join(
                    f"{level_text(factor, one.level)}: "
                    + ", ".join(
                        f"{points(sum(gains) / len(gains))} points at {images} images"
                        for images, gains in zip(one.images, one.gains, strict=True)
                        if gains
                    )
                    for one in results
                ),
                draw=partial(_draw_sizes, analysis, results),
            )
        )
    return made


def _draw_sizes(analysis: Analysis, results: Sequence[SizeResult]) -> Figure:
    groups: dict[str, list[SizeResult]] = {}
    for result in results:
        groups.setdefault(levels_text(dict(result.within)), []).append(result)
    figure, grid = panels(list(groups))
    handles: dict[str, Line2D] = {}
    for axes, members in zip(grid, groups.values(), strict=True):
        axes.axhline(0, color=MUTED, linewidth=1)
        for result in members:
            number = analysis.study.levels(result.factor).index(result.level) % len(SERIES)
            colour, name = SERIES[number], level_text(result.factor, result.level)
            places = np.geomspace(min(result.images), max(result.images), 40)
            fit, low, high = result.curve.predict(places)
            axes.plot(np.log2(places), fit * 100, color=colour)
            axes.fill_between(np.log2(places), low * 100, high * 100, color=colour, alpha=0.15, linewidth=0)
            for images, gains in zip(result.images, result.gains, strict=True):
                at = [np.log2(images)] * len(gains)
                axes.plot(at, [gain * 100 for gain in gains], MARKERS[number % 4], color=colour, markersize=3)
            handles[name] = Line2D([], [], color=colour, marker=MARKERS[number % 4], label=name)
        sizes = sorted({images for result in members for images in result.images})
        axes.set_xticks([float(np.log2(size)) for size in sizes], [f"{size:,}" for size in sizes])
        axes.set_xlabel("training images")
        axes.set_ylabel("gain, points")
    return finish(figure, list(handles.values()))


def pareto_plots(analysis: Analysis) -> list[Plot]:
    """Accuracy against each cost, one plot for each data set."""
    made = []
    for number, data in enumerate(data_sets(analysis), start=1):
        shown = [one for one in analysis.pareto if one.condition.data.name == data]
        if not shown:
            continue
        made.append(
            Plot(
                name=f"costs-{slug(data, number)}",
                caption=f"Accuracy on {data} against costs. Ringed and joined: no other condition is cheaper "
                "and better (the Pareto front). Means only: neighbours on the front may not differ.",
                alternative="; ".join(
                    f"{one.condition.label}: on the front of {', '.join(one.on_front) or 'none'}"
                    for one in shown
                ),
                draw=partial(_draw_pareto, analysis, shown),
            )
        )
    return made


def _draw_pareto(analysis: Analysis, shown: Sequence[ParetoPoint]) -> Figure:
    roles = Roles.of(analysis)
    figure, grid = panels([""] * len(COSTS), height=2.1)
    for axes, (name, (heading, cost)) in zip(grid, COSTS.items(), strict=True):
        front = sorted(
            (cost(one.condition), one.condition.accuracy.mean) for one in shown if name in one.on_front
        )
        axes.plot([x for x, _ in front], [y * 100 for _, y in front], color=MUTED, linewidth=1, zorder=1)
        for one in shown:
            x, y = cost(one.condition), one.condition.accuracy.mean * 100
            look = {"color": roles.colour(one.condition), "marker": roles.marker(one.condition)}
            axes.plot([x], [y], linestyle="", markersize=5, **look)  # type: ignore[arg-type]
            if name in one.on_front:
                axes.plot([x], [y], "o", markersize=11, mfc="none", color=MUTED, markeredgewidth=1)
        axes.margins(0.12)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(heading)
        axes.set_ylabel("accuracy, %")
    return finish(figure, roles.handles(markers=True))


def training_plots(analysis: Analysis) -> list[Plot]:
    """Validation accuracy by epoch, a panel for each combination that lines do not show."""
    conditions = [one for one in analysis.conditions if all(run.history for run in one.runs)]
    if not conditions:
        return []
    return [
        Plot(
            name="training",
            caption="Validation accuracy by epoch: mean over the runs of a condition and, shaded, their "
            "range, as far as all of its runs went.",
            alternative="; ".join(
                f"{one.label}: {percent(float(_histories(one)[:, -1].mean()))} % after "
                f"{_histories(one).shape[1]} epochs"
                for one in conditions
            ),
            draw=partial(_draw_training, analysis, conditions),
        )
    ]


def _histories(condition: ConditionResult) -> np.ndarray:
    """Validation accuracy (runs, epochs), to the end of the shortest run."""
    values = [[epoch["validation_accuracy"] for epoch in run.history] for run in condition.runs]
    shortest = min(len(one) for one in values)
    return np.array([one[:shortest] for one in values])


def _draw_training(analysis: Analysis, conditions: Sequence[ConditionResult]) -> Figure:
    roles = Roles.of(analysis)
    groups = roles.groups(conditions)
    figure, grid = panels(list(groups))
    for axes, members in zip(grid, groups.values(), strict=True):
        for condition in members:
            values = _histories(condition) * 100
            epochs = np.arange(1, values.shape[1] + 1)
            colour = roles.colour(condition)
            marker = "o" if len(epochs) == 1 else ""
            axes.plot(epochs, values.mean(0), color=colour, linestyle=roles.dash(condition), marker=marker)
            axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.1, linewidth=0)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylabel("validation accuracy, %")
    return finish(figure, roles.handles())
