"""Plots of metrics as SVG for a page: its colours and its font, also in the dark and in print.

`prefix` begins the ids inside: of several plots in one page each needs its own. Without matplotlib each is an
ImportError.
"""

from __future__ import annotations

import numpy as np

from fer_attention.evaluation.metrics import ClassificationMetrics
from fer_attention.evaluation.reliability import Reliability
from fer_attention.rendering.figures import ACCENT, INK, MUTED, WARM, inline_svg, new_figure, plain, svg_of


def reliability_svg(reliability: Reliability, *, prefix: str = "reliability") -> str:
    """Plot accuracy against confidence in bins, with the gap to the diagonal and the answers in each bin."""
    figure = new_figure(4.8, 4.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    width = 1 / len(reliability.count)
    filled = reliability.count > 0
    left = reliability.edges[:-1][filled]
    confidence, accuracy = reliability.confidence[filled], reliability.accuracy[filled]
    upper.bar(left, accuracy, width * 0.94, align="edge", color=ACCENT, alpha=0.75)
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
    upper.vlines(confidence, accuracy, confidence, color=WARM, linewidth=2.5)
    upper.plot(confidence, confidence, linestyle="", marker="o", markersize=4, color=WARM)
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    lower.bar(reliability.edges[:-1], reliability.count, width * 0.94, align="edge", color=MUTED, alpha=0.6)
    lower.set(ylabel="images", xlabel="confidence")
    for axes in (upper, lower):
        plain(axes)
    return inline_svg(svg_of(figure, prefix), prefix)


def recall_svg(metrics: ClassificationMetrics, *, prefix: str = "recall") -> str:
    """Plot the recall of each class as a bar with its 95 % interval; classes that do not occur stay empty."""
    rows = np.arange(len(metrics.classes))
    figure = new_figure(5.2, 0.9 + 0.36 * len(rows))
    axes = figure.subplots()
    seen = [row for row in rows if metrics.classes[row].support]
    found = [metrics.classes[row] for row in seen]
    axes.barh(seen, [one.recall for one in found], 0.62, color=ACCENT, alpha=0.75)
    axes.hlines(seen, [one.low for one in found], [one.high for one in found], color=INK, linewidth=1.5)
    axes.axvline(metrics.accuracy.balanced, color=MUTED, linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="recall; dashed: their mean")
    axes.set_yticks(rows, metrics.label_names, parse_math=False)
    plain(axes)
    axes.tick_params(axis="y", length=0)
    return inline_svg(svg_of(figure, prefix), prefix)
