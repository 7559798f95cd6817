"""Layout and style of plots: factors as colours, line styles and panels; legends and axes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.text import Text

from fer_attention.rendering.figures import INK, MUTED, SERIES, new_figure, plain
from fer_attention.study.analysis import StudyAnalysis
from fer_attention.study.analysis.runs import varied_factors
from fer_attention.study.config import StudyConfig
from fer_attention.study.report.names import level_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D")
WIDTH = 5.0
"""Width in inches; the text of a wider figure would be too small on a phone."""


@dataclass(frozen=True)
class Roles:
    """Factors that a plot shows by colour (`hue`), by dash and marker (`style`) and by panel."""

    study: StudyConfig
    hue: str | None
    style: str | None
    panels: tuple[str, ...]

    @classmethod
    def of(cls, analysis: StudyAnalysis, *, rounds: int = 1) -> Roles:
        """Choose the first two varied factors of attention, activation, setting, backbone and fraction.

        A factor with more levels than there are colours can have them in `rounds`, each with another style.
        """
        study, varied = analysis.study, varied_factors(analysis.study)
        order = ("attention", "activation", "setting", "backbone", "fraction")
        able = [factor for factor in order if factor in varied]
        hue = next((one for one in able if len(study.levels(one)) <= len(SERIES) * rounds), None)
        if hue and len(study.levels(hue)) > len(SERIES):
            able = []
        style = next((one for one in able if one != hue and len(study.levels(one)) <= len(DASHES)), None)
        return cls(study, hue, style, tuple(one for one in varied if one not in (hue, style)))

    def _number(self, factor: str | None, row: Any) -> int:
        return self.study.levels(factor).index(getattr(row, factor)) if factor else 0

    def look(self, row: Any, *, markers: bool = False) -> dict[str, Any]:
        """Return keyword arguments of `Axes.plot` for one row of a table with factors."""
        hue, style = self._number(self.hue, row), self._number(self.style, row)
        return {"color": SERIES[hue % len(SERIES)], **_style(style + hue // len(SERIES), markers)}

    def handles(self, *, markers: bool = False) -> list[Line2D]:
        """Return the handles of a legend: levels of the colour, then levels of the style."""
        names = level_names(self.study, self.hue) if self.hue else []
        lines = levels_legend(names)
        if len(names) > len(SERIES):
            for n, line in enumerate(lines):
                line.set(**_style(n // len(SERIES), markers))
        for n, label in enumerate(level_names(self.study, self.style) if self.style else ()):
            lines.append(Line2D([], [], color=MUTED, label=label, **_style(n, markers)))
        return lines


def _style(number: int, markers: bool) -> dict[str, Any]:
    return {"marker": MARKERS[number], "linestyle": ""} if markers else {"linestyle": DASHES[number]}


def level_names(study: StudyConfig, factor: str) -> list[str]:
    """Return the readable names of a factor's levels."""
    return [level_name(study, factor, level) for level in study.levels(factor)]


def levels_legend(names: Sequence[str]) -> list[Line2D]:
    """Return a coloured line for each level."""
    return [
        Line2D([], [], color=SERIES[n % len(SERIES)], linewidth=2.5, label=name)
        for n, name in enumerate(names)
    ]


def panels_of(frame: pd.DataFrame, titles: Sequence[str]) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Create a figure with a panel for each title, paired with the rows that have it; one title per row."""
    parts = dict(iter(frame.groupby(pd.Series(titles, frame.index), sort=False)))
    figure, axes = panels(list(parts))
    return figure, list(zip(axes, parts.values(), strict=True))


def panels(titles: Sequence[str], *, height: float = 2.4) -> tuple[Figure, list[Axes]]:
    """Create a figure with a panel for each title, two in a row; a single one takes the whole width."""
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    figure = new_figure(WIDTH, max(3.2 if columns == 1 else 0.0, 0.8 + height * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(wrapped(title))
    for axes in grid[len(titles) :]:
        axes.remove()
    return figure, list(grid[: len(titles)])


def labelled_rows(labels: Sequence[str]) -> tuple[Figure, Axes]:
    """Create a plot with one labelled row per label, the first on top."""
    texts = [wrapped(label) for label in labels]
    lines = sum(max(1.0, 0.75 * (text.count("\n") + 1)) for text in texts)
    figure = new_figure(WIDTH, 1.3 + 0.3 * lines)
    axes = figure.subplots()
    axes.set_yticks(range(len(texts)), texts)
    axes.set_ylim(len(texts) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=INK, alpha=0.06, linewidth=0.8)
    return figure, axes


def finish(figure: Figure, handles: Sequence[Line2D] = ()) -> Figure:
    """Style the axes, add a legend below them, and show names literally, not as formulas."""
    for axes in figure.axes:
        plain(axes)
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        rows = -(-len(handles) // max(1, min(5, 72 // (longest + 6))))
        figure.legend(
            handles=list(handles),
            loc="outside lower center",
            ncols=-(-len(handles) // rows),
            frameon=False,
            fontsize=9,
            labelcolor=INK,
        )
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def wrapped(label: str, width: int = 30) -> str:
    """Wrap a label into at most three lines of `width` characters."""
    return "\n".join(textwrap.wrap(label, width, max_lines=3, placeholder=" …"))
