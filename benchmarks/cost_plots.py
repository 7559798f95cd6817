"""Figures of the records of attention's cost, as SVG files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from candidates import PAPER, WAYS
from cost_record import Case, Record
from cost_tables import Group, cases_of

from fer_attention.atomic import replacing
from fer_attention.optional import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "plain": "#4477aa",
    "fused": "#228833",
    "auto": "#66ccee",
    "compiled": "#aa3377",
    "timm": "#ee6677",
    "naive": "#bbbbbb",
}
MARKERS = {"none": "o", "se": "s", "eca": "^", "cbam": "D"}
INTENDED = 80
"""The size that one figure shows of several."""


def figures(records: Mapping[str, Record]) -> dict[str, list[Case]]:
    """The name of each figure that the records allow, and the cases that it shows."""
    found = {}
    for section in ("blocks", "networks", "grid"):
        for group, cases in cases_of(records, section).items():
            if shown := _shown(section, cases):
                found[figure_name(section, group)] = shown
    return found


def figure_name(section: str, group: Group) -> str:
    """File name of a section's figure for one device, type and activation."""
    return f"benchmarks_{section}_{'_'.join(group)}.svg"


def _shown(section: str, cases: Sequence[Case]) -> list[Case]:
    if section == "blocks":
        sizes = {case.size for case in cases}
        size = INTENDED if INTENDED in sizes else max(sizes)
        return [case for case in cases if (case.size, case.mode) == (size, "training")]
    return list(cases)


def digest(cases: Iterable[Case]) -> str:
    """A fingerprint of what a figure shows; it is written into the file."""
    text = "".join(case.model_dump_json() for case in cases)
    return hashlib.sha256(text.encode()).hexdigest()


def draw(records: Mapping[str, Record], folder: Path) -> list[Path]:
    """Write all figures that the records allow; gives their paths."""
    with needs_extra("train", "Figures are drawn by matplotlib"):
        import matplotlib
    drawers = {"blocks": _draw_blocks, "networks": _draw_networks, "grid": _draw_grid}
    paths = []
    for name, cases in figures(records).items():
        with matplotlib.rc_context({"svg.hashsalt": "fer_attention", "svg.fonttype": "none"}):
            figure = drawers[name.split("_")[1]](cases)
            with replacing(folder / name) as temporary:
                about = {"Date": None, "Description": digest(cases)}
                figure.savefig(temporary, bbox_inches="tight", metadata=about)
        paths.append(folder / name)
    return paths


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _legend(axes: Axes, labels: Iterable[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLOURS[way], marker="o", linestyle="", label=way) for way in labels]
    axes.legend(handles=handles, frameon=False)


def _draw_blocks(cases: Sequence[Case]) -> Figure:
    """Forward and backward pass of each block alone, the maps of the stages added up."""
    figure = _figure(7, 3.2)
    axes = figure.subplots()
    present = {one.name for case in cases for one in case.candidates}
    ways = [way for way in WAYS if any(f"{attention} {way}" in present for attention in PAPER)]
    for place, attention in enumerate(PAPER):
        for index, way in enumerate(ways):
            spreads = [one.ms for case in cases if (one := case.find(f"{attention} {way}")) and one.ms]
            if len(spreads) == len(cases):
                total = sum(spread.median for spread in spreads)
                low, high = (sum(getattr(spread, end) for spread in spreads) for end in ("q25", "q75"))
                axes.bar(
                    place + (index - len(ways) / 2 + 0.5) * 0.8 / len(ways),
                    total,
                    0.8 / len(ways),
                    color=COLOURS[way],
                    yerr=[[max(total - low, 0)], [max(high - total, 0)]],
                )
    batches = ", ".join(" × ".join(map(str, case.shape)) for case in cases)
    axes.set_xticks(range(len(PAPER)), [attention.upper() for attention in PAPER])
    axes.set_ylabel("ms, forward + backward")
    axes.set_title(f"Blocks alone, sum over the maps {batches}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, ways)
    return figure


def _draw_networks(cases: Sequence[Case]) -> Figure:
    """Time of each network with attention over the network without, with its interval."""
    modes = list(dict.fromkeys(case.mode for case in cases))
    rows = [
        (subject, size, attention)
        for (subject, size), _ in groupby(cases, key=lambda case: (case.subject, case.size))
        for attention in PAPER
    ]
    figure = _figure(9, 1 + 0.28 * len(rows))
    panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    ways: list[str] = []
    for axes, mode in zip(panels, modes, strict=True):
        axes.axvline(1, color="#333333", linewidth=0.8)
        for row, (subject, size, attention) in enumerate(rows):
            shown = [c for c in cases if (c.subject, c.size, c.mode) == (subject, size, mode)]
            for ratio in (ratio for case in shown for ratio in case.ratios):
                kind, _, way = ratio.of.partition(" ")
                to = "none compiled" if way == "compiled" else "none plain"
                if (kind, ratio.to) == (attention, to):
                    ways.append(way)
                    height = row + (WAYS.index(way) - len(WAYS) / 2 + 0.5) * 0.8 / len(WAYS)
                    axes.plot([ratio.low, ratio.high], [height, height], color=COLOURS[way], linewidth=1.2)
                    axes.plot([ratio.median], [height], "o", color=COLOURS[way], markersize=4)
        axes.set_title(f"{mode}: time over the network without attention", fontsize=9)
        axes.grid(axis="x", linewidth=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(rows)), [f"{s} {size}² {a.upper()}" for s, size, a in rows], fontsize=8)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    _legend(panels[-1], [way for way in WAYS if way in ways])
    return figure


def _draw_grid(cases: Sequence[Case]) -> Figure:
    """Throughput over parameters of whole models."""
    from matplotlib.lines import Line2D

    figure = _figure(7, 3.6)
    axes = figure.subplots()
    largest = max(case.shape[0] for case in cases)
    for number, case in enumerate(case for case in cases if case.shape[0] == largest):
        points = [
            (one.parameters / 1e6, largest / one.ms.median * 1e3, one.attention)
            for one in case.candidates
            if one.ms is not None and one.parameters
        ]
        colour = f"C{number}"
        for x, y, attention in points:
            axes.plot([x], [y], MARKERS[attention], color=colour, markersize=5)
        axes.annotate(case.subject, points[0][:2], textcoords="offset points", xytext=(5, 5), fontsize=8)
    handles = [
        Line2D([], [], color="#555555", marker=marker, linestyle="", label=attention)
        for attention, marker in MARKERS.items()
    ]
    axes.legend(handles=handles, frameon=False)
    axes.set_xlabel("parameters, millions")
    axes.set_ylabel(f"images per second, batch {largest}")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
