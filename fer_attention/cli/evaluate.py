"""`fer-attention evaluate`."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.markup import escape
from rich.table import Table

from fer_attention.cli.common import Device, errors_as_lines, out
from fer_attention.cli.datasets import (
    DATA_HELP,
    FoldNumber,
    Format,
    OnError,
    ProtocolName,
    Votes,
    divided,
    read,
)
from fer_attention.data import DEGRADATIONS, with_votes
from fer_attention.data.degradations import check_strength
from fer_attention.device import resolve_device
from fer_attention.emotions import LABEL_SETS
from fer_attention.evaluation import VIEWS, ClassificationMetrics, CrowdAgreement, EvaluationReport
from fer_attention.evaluation import evaluate as measure
from fer_attention.evaluation.evaluate import label_set
from fer_attention.models import load_weights, read_metadata
from fer_attention.models.bundled import weights_path


def evaluate(
    weights: Annotated[str, typer.Argument(help="Bundled weights by name, or a weights file.")],
    data: Annotated[Path, typer.Option(help=DATA_HELP)],
    data_format: Format = "auto",
    votes: Votes = None,
    protocol: ProtocolName = None,
    fold: FoldNumber = 0,
    split: Annotated[
        str | None, typer.Option(help="Split to measure on; by default private, else test.")
    ] = None,
    tta: Annotated[str, typer.Option(help=f"Test-time augmentation: {', '.join(VIEWS)}.")] = "none",
    emotions: Annotated[
        str | None, typer.Option(help=f"Answer only with the labels of a set: {', '.join(LABEL_SETS)}.")
    ] = None,
    degrade: Annotated[
        list[str] | None,
        typer.Option(help=f"NAME:STRENGTH, applied to the images first: {', '.join(DEGRADATIONS)}."),
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Images drawn at random; by default all.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of --sample and --degrade.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the numbers.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="File for a report to read.")] = None,
    drop_unknown_labels: Annotated[
        bool, typer.Option("--drop-unknown-labels", help="Leave out images whose label the model lacks.")
    ] = False,
    on_error: OnError = "raise",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass.")] = 256,
    device: Device = "auto",
) -> None:
    """Measure a weights file on labelled faces: accuracy with its interval, class by class, calibration.

    With --votes, also how often the model answers as ten people did, by how many of them agree. Where the
    data has a split `train`, everything is measured a second time without the images that are, pixel for
    pixel, also in it.
    """
    with errors_as_lines():
        _prepare(json_file, html_file)
        VIEWS[tta]
        if emotions is not None:
            label_set(emotions)
        degradations = [_degradation(text) for text in degrade or []]
        path = weights_path(weights)
        model = load_weights(path, device=resolve_device(device))
        crops = read(data, data_format, on_error)
        if votes is not None:
            crops = with_votes(crops, votes, on_error=on_error)  # type: ignore[arg-type]
        if protocol is not None:
            crops = divided(crops, protocol, fold)
        found = measure(
            model,
            crops,
            split=split,
            tta=tta,
            emotions=emotions,
            drop_unknown=drop_unknown_labels,
            degradations=degradations,
            sample=sample,
            seed=seed,
            batch_size=batch_size,
        )
        report = EvaluationReport(
            weights=path.name,
            model=model.spec.name,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            data=data.resolve().name,
            split=found.split,
            results=found.results,
            crowd=found.crowd,
            tta=tta,
            record=read_metadata(path).record,
            dropped=found.dropped,
            notes=found.notes,
            machine=_machine(next(model.parameters()).device),
            seconds=found.seconds,
        )
        if json_file is not None:
            report.write_json(json_file)
        if html_file is not None:
            report.write_html(html_file)
    _print(report)


def _degradation(text: str) -> tuple[str, float]:
    name, separator, number = text.partition(":")
    try:
        strength = float(number)
    except ValueError:
        separator = ""
    if not separator:
        raise ValueError(f"--degrade takes NAME:STRENGTH, such as noise:20; got {text!r}.")
    check_strength(name, strength)
    return name, strength


def _prepare(json_file: Path | None, html_file: Path | None) -> None:
    """What would otherwise fail after the work: unwritable places and missing libraries."""
    for file in (json_file, html_file):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    for library in ("sklearn", *(() if html_file is None else ("jinja2", "matplotlib"))):
        if find_spec(library) is None:
            raise ImportError(f"This needs {library}: pip install 'fer_attention[train]'.")


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.system()} {platform.machine()}, {device.type}, threads: {torch.get_num_threads()}"


def _print(report: EvaluationReport) -> None:
    title = f"{report.weights} on {report.data}, split {report.split}, {report.passes}"
    table = Table(title=escape(title))
    headings = "images", "n", "accuracy", "95 % interval", "balanced", "macro-F1", "ECE"
    for heading in headings:
        table.add_column(heading, no_wrap=heading != "images")
    for name, metrics in report.results.items():
        right = metrics.accuracy
        table.add_row(
            name, str(metrics.n), f"{right.value:.2%}", f"{right.low * 100:.2f} to {right.high:.2%}",
            f"{right.balanced:.2%}", f"{metrics.macro_f1:.2%}", f"{metrics.reliability.ece:.2%}",
        )  # fmt: skip
    out.print(table)
    for name, crowd in report.crowd.items():
        out.print(_crowd_table(name, crowd))
        out.print(_crowd_note(crowd), highlight=False, soft_wrap=True)
    for name, metrics in report.results.items():
        out.print(_class_table(name, metrics))
    out.print("Intervals are Wilson's; ECE is the expected calibration error in 15 bins.", highlight=False)
    for note in report.notes:
        out.print(escape(note), soft_wrap=True, highlight=False)
    for label, count in report.dropped.items():
        out.print(escape(f"Left out: {count} images labelled {label}, which the model does not know."))


def _crowd_table(name: str, crowd: CrowdAgreement) -> Table:
    table = Table(title=f"agreement with ten voters, {name}")
    for heading in ("images on which the votes are", "n", "accuracy", "95 % interval", "balanced"):
        table.add_column(heading)
    for level, right in crowd.levels.items():
        interval = f"{right.low * 100:.2f} to {right.high:.2%}"
        table.add_row(level, str(right.n), f"{right.value:.2%}", interval, f"{right.balanced:.2%}")
    return table


def _crowd_note(crowd: CrowdAgreement) -> str:
    own = crowd.label_accuracy
    note = (
        f"Cross-entropy to the distribution of votes {crowd.cross_entropy:.4f} nats, of which "
        f"{crowd.entropy:.4f} are the voters' own disagreement (n = {crowd.n})."
    )
    return note if own is None else f"{note} The data's own labels agree with the plurality in {own}."


def _class_table(name: str, metrics: ClassificationMetrics) -> Table:
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
