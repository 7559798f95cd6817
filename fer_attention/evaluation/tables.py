"""Tables of an evaluation for terminals and notebooks."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from fer_attention.evaluation.crowd import CrowdAgreement
from fer_attention.evaluation.metrics import ClassificationMetrics
from fer_attention.evaluation.report import EvaluationReport


def accuracy_table(report: EvaluationReport) -> Table:
    """Accuracy, macro-F1 and calibration, a row for each set of images."""
    title = f"{report.weights} on {report.data}, split {report.split}, {report.passes}"
    table = Table(title=escape(title))
    for heading in ("images", "n", "accuracy", "95 % interval", "balanced", "macro-F1", "ECE"):
        table.add_column(heading, no_wrap=heading != "images")
    for name, metrics in report.results.items():
        right = metrics.accuracy
        table.add_row(
            name, str(metrics.n), f"{right.value:.2%}", f"{right.low * 100:.2f} to {right.high:.2%}",
            f"{right.balanced:.2%}", f"{metrics.macro_f1:.2%}", f"{metrics.reliability.ece:.2%}",
        )  # fmt: skip
    return table


def class_table(name: str, metrics: ClassificationMetrics) -> Table:
    """Precision, recall and F1 of each class on the set of images called `name`."""
    table = Table(title=f"class by class, {name}")
    for heading in ("class", "n", "precision", "recall", "95 % interval", "F1"):
        table.add_column(heading)
    for one in metrics.classes:
        recall, interval = f"{one.recall:.2%}", f"{one.low * 100:.2f} to {one.high:.2%}"
        if not one.support:
            recall = interval = "-"
        table.add_row(
            escape(one.label), str(one.support), f"{one.precision:.2%}", recall, interval, f"{one.f1:.2%}"
        )
    return table


def crowd_table(name: str, crowd: CrowdAgreement) -> Table:
    """Agreement with the voters by how clear the votes are, on the set of images called `name`."""
    table = Table(title=f"agreement with ten voters, {name}")
    for heading in ("images on which the votes are", "n", "accuracy", "95 % interval", "balanced"):
        table.add_column(heading)
    for level, right in crowd.levels.items():
        interval = f"{right.low * 100:.2f} to {right.high:.2%}"
        table.add_row(level, str(right.n), f"{right.value:.2%}", interval, f"{right.balanced:.2%}")
    return table
