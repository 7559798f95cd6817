"""Plots of metrics as SVG for a page: its colours and its font, also in the dark and in print."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

from fer_attention.evaluation.calibration import Reliability
from fer_attention.evaluation.metrics import ClassificationMetrics
from fer_attention.optional import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib knows no CSS variables, so it draws in stand-ins that occur nowhere else.
INK, MUTED, ACCENT, WARM = "#010203", "#040506", "#070809", "#0a0b0c"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", ACCENT: "var(--accent)", WARM: "var(--warm)"}


def reliability_svg(reliability: Reliability, *, prefix: str = "reliability") -> str:
    """Accuracy against confidence in bins, the gap to the diagonal, and how many answers each bin holds.

    Args:
        reliability: The bins.
        prefix: Of the ids inside; of several plots in one page each needs its own.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure(4.8, 4.8)
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
        _plain(axes)
    return _svg(figure, prefix)


def recall_svg(metrics: ClassificationMetrics, *, prefix: str = "recall") -> str:
    """Recall of each class as a bar with its 95 % interval; classes that do not occur stay empty.

    Args:
        metrics: The measures.
        prefix: Of the ids inside; of several plots in one page each needs its own.

    Raises:
        ImportError: matplotlib is not installed.
    """
    rows = np.arange(len(metrics.classes))
    figure = _figure(5.2, 0.9 + 0.36 * len(rows))
    axes = figure.subplots()
    seen = [(row, one) for row, one in zip(rows, metrics.classes, strict=True) if one.support]
    at = [row for row, _ in seen]
    recalls = [one.recall for _, one in seen]
    axes.barh(at, recalls, 0.62, color=ACCENT, alpha=0.75)
    axes.hlines(at, [one.low for _, one in seen], [one.high for _, one in seen], color=INK, linewidth=1.5)
    axes.axvline(metrics.accuracy.balanced, color=MUTED, linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="recall; dashed: their mean")
    axes.set_yticks(rows, metrics.label_names, parse_math=False)
    _plain(axes)
    axes.tick_params(axis="y", length=0)
    return _svg(figure, prefix)


def _figure(width: float, height: float) -> Figure:
    with needs_extra("train", "The plots need matplotlib"):
        from matplotlib.figure import Figure  # the object API: pyplot would keep global state
    return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def _plain(axes: Axes) -> None:
    """Two thin axes, in the page's colours."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=INK, size=9.5)


def _svg(figure: Figure, prefix: str) -> str:
    """The figure as an inline `<svg>`: no prolog, no outside address, ids that are its own."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)  # needless inside HTML, and looks like a link
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}-", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)  # the page's font instead
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg
