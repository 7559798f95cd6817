"""Bias shift: the mean activation of each layer, compared between activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fer_attention.evaluation.figures import MUTED, SERIES
from fer_attention.study.report.document import Column, Plot, Table
from fer_attention.study.report.layout import finish, panels
from fer_attention.study.report.reading import runs_of
from fer_attention.study.report.wording import decimal
from fer_attention.study.results import Analysis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class BiasShift:
    """Mean activations of one backbone's layers, averaged over runs.

    Only layers whose activation the factor changes: gates keep their own.

    Attributes:
        backbone: Of the models.
        activations: Levels of the factor.
        runs: How many runs of each.
        layers: Names, from the first layer to the last.
        means: Mean activation, (layers, activations).
        size: Mean over the layers and runs of |mean activation|, by activation.
    """

    backbone: str
    activations: tuple[str, ...]
    runs: tuple[int, ...]
    layers: tuple[str, ...]
    means: tuple[tuple[float, ...], ...]
    size: tuple[float, ...]


def bias_shifts(analysis: Analysis) -> tuple[BiasShift, ...]:
    """For every backbone that has measured runs of two activations or more."""
    found = [_of_backbone(analysis, str(name)) for name in analysis.study.levels("backbone")]
    return tuple(shift for shift in found if shift is not None)


def _of_backbone(analysis: Analysis, backbone: str) -> BiasShift | None:
    runs = {
        str(level): [
            {one.layer: one for one in run.activations}
            for run in runs_of([c for c in analysis.conditions if c.factors["backbone"] == backbone])
            if run.factors["activation"] == level and run.activations
        ]
        for level in analysis.study.levels("activation")
    }
    runs = {level: members for level, members in runs.items() if members}
    if len(runs) < 2:
        return None
    names = dict.fromkeys(name for members in runs.values() for run in members for name in run)
    layers = [
        name
        for name in names
        if all(any(name in run for run in members) for members in runs.values())
        and len({run[name].kind for members in runs.values() for run in members if name in run}) > 1
    ]
    if not layers:
        return None
    values = {
        (name, level): [run[name].mean for run in members if name in run]
        for name in layers
        for level, members in runs.items()
    }
    return BiasShift(
        backbone=backbone,
        activations=tuple(runs),
        runs=tuple(len(members) for members in runs.values()),
        layers=tuple(layers),
        means=tuple(tuple(fmean(values[name, level]) for level in runs) for name in layers),
        size=tuple(fmean(fmean(map(abs, values[name, level])) for name in layers) for level in runs),
    )


def bias_tables(shifts: Sequence[BiasShift]) -> list[Table]:
    """Layer by layer, one table for each backbone."""
    return [
        Table(
            name=f"bias-shift-{number}" if len(shifts) > 1 else "bias-shift",
            title=f"Mean activation by layer, {shift.backbone}",
            columns=(Column("layer", text=True), *(Column(name) for name in shift.activations)),
            rows=(
                *(
                    (layer, *(decimal(mean, 3) for mean in means))
                    for layer, means in zip(shift.layers, shift.means, strict=True)
                ),
                ("mean size |mean|", *(decimal(size, 3) for size in shift.size)),
            ),
            note="Mean over the runs: "
            + ", ".join(f"{n} of {name}" for n, name in zip(shift.runs, shift.activations, strict=True))
            + ". On validation images. Layers that keep their own activation, such as those of gates, are "
            "left out.",
        )
        for number, shift in enumerate(shifts, start=1)
    ]


def bias_plots(shifts: Sequence[BiasShift]) -> list[Plot]:
    """Mean activation against depth, a panel for each backbone."""
    if not shifts:
        return []
    return [
        Plot(
            name="bias-shift",
            caption="Mean activation of each layer, from the first to the last; nearer to zero is less bias "
            "shift.",
            alternative="; ".join(
                f"{shift.backbone}, {name}: mean size {decimal(size, 3)}"
                for shift in shifts
                for name, size in zip(shift.activations, shift.size, strict=True)
            ),
            draw=partial(_draw, shifts),
        )
    ]


def _draw(shifts: Sequence[BiasShift]) -> Figure:
    figure, grid = panels([shift.backbone if len(shifts) > 1 else "" for shift in shifts])
    colours: dict[str, str] = {}
    for axes, shift in zip(grid, shifts, strict=True):
        axes.axhline(0, color=MUTED, linewidth=1)
        depth = range(1, len(shift.layers) + 1)
        for number, name in enumerate(shift.activations):
            colour = colours.setdefault(name, SERIES[len(colours) % len(SERIES)])
            axes.plot(depth, [means[number] for means in shift.means], "o-", color=colour, markersize=3)
        axes.set_xlabel("layer")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylabel("mean activation")
    return finish(figure, [Line2D([], [], color=colour, label=name) for name, colour in colours.items()])
