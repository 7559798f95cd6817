"""Figures of the records of attention's cost, as SVG files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from candidates import PAPER, VARIANTS
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
"""Image size that a figure of blocks shows if it was measured."""


def figures(records: Mapping[str, Record]) -> dict[str, list[Case]]:
    """Return the figures that the records allow: file name and cases."""
    found = {}
    for section in ("blocks", "networks", "grid"):
        for group, cases in cases_of(records, section).items():
            if shown := _shown(section, cases):
                found[figure_name(section, group)] = shown
    return found


def figure_name(section: str, group: Group) -> str:
    """Return the file name of a section's figure for one device, type and activation."""
    return f"benchmarks_{section}_{'_'.join(group)}.svg"


def _shown(section: str, cases: Sequence[Case]) -> list[Case]:
    if section == "blocks":
        sizes = {case.size for case in cases}
        size = INTENDED if INTENDED in sizes else max(sizes)
        return [case for case in cases if (case.size, case.mode) == (size, "training")]
    return list(cases)


def digest(cases: Iterable[Case]) -> str:
    """Compute a fingerprint of a figure's cases, which is stored in the file."""
    text = "".join(case.model_dump_json() for case in cases)
    return hashlib.sha256(text.encode()).hexdigest()


def draw(records: Mapping[str, Record], folder: Path) -> list[Path]:
    """Write all figures that the records allow, and return their paths."""
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

    handles = [
        Line2D([], [], color=COLOURS[variant], marker="o", linestyle="", label=variant) for variant in labels
    ]
    axes.legend(handles=handles, frameon=False)


def _draw_blocks(cases: Sequence[Case]) -> Figure:
    """Draw forward plus backward time of each block alone, summed over the stages."""
    figure = _figure(7, 3.2)
    axes = figure.subplots()
    present = {one.name for case in cases for one in case.candidates}
    variants = [
        variant for variant in VARIANTS if any(f"{attention} {variant}" in present for attention in PAPER)
    ]
    for position, attention in enumerate(PAPER):
        for index, variant in enumerate(variants):
            spreads = [one.ms for case in cases if (one := case.find(f"{attention} {variant}")) and one.ms]
            if len(spreads) == len(cases):
                total = sum(spread.median for spread in spreads)
                low, high = (sum(getattr(spread, end) for spread in spreads) for end in ("q25", "q75"))
                axes.bar(
                    position + (index - len(variants) / 2 + 0.5) * 0.8 / len(variants),
                    total,
                    0.8 / len(variants),
                    color=COLOURS[variant],
                    yerr=[[max(total - low, 0)], [max(high - total, 0)]],
                )
    batches = ", ".join(" × ".join(map(str, case.shape)) for case in cases)
    axes.set_xticks(range(len(PAPER)), [attention.upper() for attention in PAPER])
    axes.set_ylabel("ms, forward + backward")
    axes.set_title(f"Blocks alone, sum over the maps {batches}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, variants)
    return figure


def _draw_networks(cases: Sequence[Case]) -> Figure:
    """Draw the time of each network with attention over the network without, with intervals."""
    modes = list(dict.fromkeys(case.mode for case in cases))
    rows = [
        (subject, size, attention)
        for (subject, size), _ in groupby(cases, key=lambda case: (case.subject, case.size))
        for attention in PAPER
    ]
    figure = _figure(9, 1 + 0.28 * len(rows))
    panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    variants: list[str] = []
    for axes, mode in zip(panels, modes, strict=True):
        axes.axvline(1, color="#333333", linewidth=0.8)
        for row, (subject, size, attention) in enumerate(rows):
            shown = [c for c in cases if (c.subject, c.size, c.mode) == (subject, size, mode)]
            for ratio in (ratio for case in shown for ratio in case.ratios):
                kind, _, variant = ratio.of.partition(" ")
                to = "none compiled" if variant == "compiled" else "none plain"
                if (kind, ratio.to) == (attention, to):
                    variants.append(variant)
                    height = row + (VARIANTS.index(variant) - len(VARIANTS) / 2 + 0.5) * 0.8 / len(VARIANTS)
                    axes.plot(
                        [ratio.low, ratio.high], [height, height], color=COLOURS[variant], linewidth=1.2
                    )
                    axes.plot([ratio.median], [height], "o", color=COLOURS[variant], markersize=4)
        axes.set_title(f"{mode}: time over the network without attention", fontsize=9)
        axes.grid(axis="x", linewidth=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(rows)), [f"{s} {size}² {a.upper()}" for s, size, a in rows], fontsize=8)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    _legend(panels[-1], [variant for variant in VARIANTS if variant in variants])
    return figure


def _draw_grid(cases: Sequence[Case]) -> Figure:
    """Draw throughput over parameters of whole models."""
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
