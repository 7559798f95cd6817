"""Tables of an evaluation for terminals and notebooks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Column, Table
from rich.text import Text

from fer_attention.evaluation.accuracy import Accuracy
from fer_attention.evaluation.crowd import CrowdAgreement
from fer_attention.evaluation.doubt import Doubt
from fer_attention.evaluation.metrics import ClassificationMetrics, ClassMetrics
from fer_attention.evaluation.report import EvaluationReport

NUMBERS = ("n", "accuracy", "95 % interval", "balanced")


def accuracy_table(report: EvaluationReport) -> Table:
    """Tabulate accuracy, macro-F1 and calibration, with a row for each set of images."""
    title = f"{report.weights} on {report.data}, split {report.split}, {report.passes}"
    numbers = [Column(heading, no_wrap=True) for heading in (*NUMBERS, "macro-F1", "ECE")]
    table = Table("images", *numbers, title=Text(title, "table.title"))
    for name, metrics in report.results.items():
        table.add_row(
            name, *_numbers(metrics.accuracy), f"{metrics.macro_f1:.2%}", f"{metrics.reliability.ece:.2%}"
        )
    return table


def class_table(name: str, metrics: ClassificationMetrics) -> Table:
    """Tabulate precision, recall and F1 of each class on the set of images called `name`."""
    headings = ("class", "n", "precision", "recall", "95 % interval", "F1")
    table = Table(*headings, title=f"class by class, {name}")
    for one in metrics.classes:
        recall, interval = (f"{one.recall:.2%}", _interval(one)) if one.support else ("-", "-")
        table.add_row(
            Text(one.label), str(one.support), f"{one.precision:.2%}", recall, interval, f"{one.f1:.2%}"
        )
    return table


def crowd_table(name: str, crowd: CrowdAgreement) -> Table:
    """Tabulate the agreement with voters by how clear the votes are, on the set of images called `name`."""
    table = Table("images on which the votes are", *NUMBERS, title=f"agreement with ten voters, {name}")
    for level, right in crowd.levels.items():
        table.add_row(level, *_numbers(right))
    return table


def doubt_table(name: str, doubts: Mapping[str, Doubt]) -> Table:
    """Candidates and confidence by kind of truth, on the set of images called `name`."""
    headings = ("n", "covered", "95 % interval", "candidates", "sure", "right if sure", "AURC", "ECE")
    numbers = [Column(heading, no_wrap=True) for heading in headings]
    table = Table("truth", *numbers, title=f"doubt, {name}")
    for truth, one in doubts.items():
        right = "-" if math.isnan(one.sure_accuracy) else f"{one.sure_accuracy:.2%}"
        row = (str(one.n), f"{one.coverage:.2%}", _interval(one), f"{one.candidates:.2f}", f"{one.sure:.1%}")
        table.add_row(truth, *row, right, f"{one.aurc:.4f}", f"{one.ece:.2%}")
    return table


def _numbers(right: Accuracy) -> tuple[str, ...]:
    return str(right.n), f"{right.value:.2%}", _interval(right), _balanced(right)


def _balanced(right: Accuracy) -> str:
    return f"{right.balanced:.2%}\n({right.balanced_low * 100:.2f} to {right.balanced_high:.2%})"


def _interval(one: Accuracy | ClassMetrics | Doubt) -> str:
    return f"{one.low * 100:.2f} to {one.high:.2%}"
