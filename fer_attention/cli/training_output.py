"""Progress and result of a training run, on terminals and in logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table

from fer_attention.cli.common import err, out, say, warn

if TYPE_CHECKING:
    from fer_attention.training import Epoch, TrainingCallbacks, TrainingProgress, TrainingResult

FIRST_LINE, NEXT_LINE = 10.0, 60.0
"""Seconds before the first line of progress without a terminal, and between later ones."""


def training_bar() -> Progress:
    """Create the progress bar of a run's steps, for terminals only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


def training_callbacks(bar: Progress) -> TrainingCallbacks:
    """Create callbacks that show steps in the bar or, without a terminal, as a line a minute.

    Epochs and warnings are lines in either case.
    """
    from fer_attention.training import TrainingCallbacks

    task = bar.add_task("starting", total=None, state="")
    due = time.monotonic() + FIRST_LINE

    def on_progress(now: TrainingProgress) -> None:
        nonlocal due
        state = (
            f"loss {now.loss:.3f}  {now.train_accuracy:.1%}  {now.images_per_second:.0f} images/s  "
            f"{duration(now.seconds_left)} left"
        )
        where = f"epoch {now.epoch}/{now.epochs}"
        bar.update(task, description=where, total=now.steps, completed=now.step, state=state)
        if bar.disable and time.monotonic() >= due and now.step < now.steps:
            due = time.monotonic() + NEXT_LINE
            say(f"{where}  step {now.step}/{now.steps}  {state}", err)

    def on_epoch(epoch: Epoch) -> None:
        nonlocal due
        due = time.monotonic() + NEXT_LINE
        say(
            f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  train {epoch.train_accuracy:.2%}  "
            f"validation {epoch.validation_accuracy:.2%}  {epoch.images_per_second:.0f} images/s  "
            f"{epoch.seconds:.0f} s"
        )

    return TrainingCallbacks(on_progress=on_progress, on_epoch=on_epoch, on_warning=warn)


def duration(seconds: float) -> str:
    """Format a time: `45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_result(result: TrainingResult, data: Path) -> None:
    """Print the first, best and last epoch, the curves and the location of the files.

    Args:
        result: The finished run.
        data: Path of its data, for the command that evaluates it.
    """
    from fer_attention.training.curves import sparkline

    first, best, last = result.history[0], result.best, result.history[-1]
    headings = "first", f"best: {best.epoch}", f"last: {last.epoch}"
    right = (Column(heading, justify="right") for heading in headings)
    table = Table("epoch", *right, "curve")
    rows = {
        "training loss": ("loss", "{:.4f}"),
        "selection loss": ("validation_loss", "{:.4f}"),
        "training accuracy": ("train_accuracy", "{:.2%}"),
        "selection accuracy": ("validation_accuracy", "{:.2%}"),
        "balanced accuracy": ("validation_balanced_accuracy", "{:.2%}"),
    }
    for label, (name, form) in rows.items():
        values = [form.format(getattr(epoch, name)) for epoch in (first, best, last)]
        table.add_row(label, *values, sparkline([getattr(epoch, name) for epoch in result.history]))
    out.print(table)
    say(
        f"Best epoch {best.epoch} of {len(result.history)}: {best.validation_accuracy:.2%} on the selection "
        "images. They chose the epoch, so this number is optimistic. On new images:"
    )
    say(f"fer-attention evaluate {result.weights} --data {data}")
    curves = result.weights.with_name("curves.png")
    say(f"Weights: {result.weights}" + (f"  Curves: {curves}" if curves.is_file() else ""))
