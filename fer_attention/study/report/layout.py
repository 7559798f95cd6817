"""Which factor is a colour, which a line style, and which divides a plot into panels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.text import Text

from fer_attention.evaluation.figures import INK, MUTED, SERIES, new_figure, plain
from fer_attention.study.config import FACTORS, Level, level_text
from fer_attention.study.results import Analysis, ConditionResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D")
WIDTH = 5.0
"""Inches; text of a wider figure would be too small on a phone."""


def levels_text(factors: dict[str, Level]) -> str:
    """Several levels, in the order of the factors."""
    return ", ".join(level_text(factor, factors[factor]) for factor in FACTORS if factor in factors)


@dataclass(frozen=True)
class Roles:
    """How the conditions of a study are told apart in a plot of lines or points.

    Attributes:
        analysis: The study's.
        hue: The factor that colours show; None where nothing varies.
        style: The factor that dashes and markers show.
        panels: Those with a panel for each combination of levels.
    """

    analysis: Analysis
    hue: str | None
    style: str | None
    panels: tuple[str, ...]

    @classmethod
    def of(cls, analysis: Analysis) -> Roles:
        """The first two that vary, of attention, activation, setting, backbone and fraction."""
        order = ("attention", "activation", "setting", "backbone", "fraction")
        varied = [factor for factor in order if factor in analysis.varied]
        hue = next((factor for factor in varied if cls._count(analysis, factor) <= len(SERIES)), None)
        style = next(
            (factor for factor in varied if factor != hue and cls._count(analysis, factor) <= len(DASHES)),
            None,
        )
        return cls(analysis, hue, style, tuple(f for f in analysis.varied if f not in (hue, style)))

    @staticmethod
    def _count(analysis: Analysis, factor: str) -> int:
        return len(analysis.study.levels(factor))

    def _number(self, factor: str | None, condition: ConditionResult) -> int:
        return self.analysis.study.levels(factor).index(condition.factors[factor]) if factor else 0

    def colour(self, condition: ConditionResult) -> str:
        """Of a condition's line."""
        return SERIES[self._number(self.hue, condition)]

    def dash(self, condition: ConditionResult) -> str | tuple[float, tuple[float, ...]]:
        """Of a condition's line."""
        return DASHES[self._number(self.style, condition)]

    def marker(self, condition: ConditionResult) -> str:
        """Of a condition's points."""
        return MARKERS[self._number(self.style, condition)]

    def groups(self, conditions: Sequence[ConditionResult]) -> dict[str, list[ConditionResult]]:
        """Conditions by the title of their panel."""
        found: dict[str, list[ConditionResult]] = {}
        for condition in conditions:
            title = levels_text({factor: condition.factors[factor] for factor in self.panels})
            found.setdefault(title, []).append(condition)
        return found

    def handles(self, *, markers: bool = False) -> list[Line2D]:
        """What a legend shows: the colours' levels, then the styles'."""
        levels = self.analysis.study.levels
        lines = [
            Line2D([], [], color=SERIES[n], linewidth=2.5, label=level_text(self.hue, level))
            for n, level in enumerate(levels(self.hue) if self.hue else ())
            if self.hue
        ]
        for n, level in enumerate(levels(self.style) if self.style else ()):
            look = {"marker": MARKERS[n], "linestyle": ""} if markers else {"linestyle": DASHES[n]}
            lines.append(Line2D([], [], color=MUTED, label=level_text(str(self.style), level), **look))
        return lines


def panels(titles: Sequence[str], *, height: float = 2.4) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, two in a row; one alone takes the whole width."""
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    figure = new_figure(WIDTH, max(3.2 if columns == 1 else 0.0, 0.8 + height * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(wrapped(title, 42))
    for axes in grid[len(titles) :]:
        axes.remove()
    return figure, list(grid[: len(titles)])


def finish(figure: Figure, handles: Sequence[Line2D] = ()) -> Figure:
    """Thin axes, a legend below that covers nothing, and names as they are, not as formulas."""
    for axes in figure.axes:
        plain(axes)
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        rows = -(-len(handles) // max(1, min(5, 56 // (longest + 6))))
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
    """A label in lines of at most so many characters, cut after the third."""
    return "\n".join(textwrap.wrap(label, width, max_lines=3, placeholder=" …"))
