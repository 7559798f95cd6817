"""`fer-attention evaluate`."""

from __future__ import annotations

import platform
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from fer_attention.cli.common import Device, errors_as_lines, out
from fer_attention.cli.datasets import DATA_HELP, FoldNumber, Format, OnError, ProtocolName, divided, read
from fer_attention.data import DataError, FaceCrops
from fer_attention.device import resolve_device
from fer_attention.evaluation import (
    VIEWS,
    ClassificationMetrics,
    EvaluationReport,
    classification_metrics,
    match_labels,
    predict_crops,
)
from fer_attention.evaluation.report import ALL, NEW
from fer_attention.models import load_weights
from fer_attention.models.bundled import weights_path
from fer_attention.models.weights import read_record

TRAIN = "train"


def evaluate(
    weights: Annotated[str, typer.Argument(help="Bundled weights by name, or a weights file.")],
    data: Annotated[Path, typer.Option(help=DATA_HELP)],
    data_format: Format = "auto",
    protocol: ProtocolName = None,
    fold: FoldNumber = 0,
    split: Annotated[
        str | None, typer.Option(help="Split to measure on; by default private, else test.")
    ] = None,
    tta: Annotated[str, typer.Option(help=f"Test-time augmentation: {', '.join(VIEWS)}.")] = "none",
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

    Where the data has a split `train`, everything is measured a second time without the images that are,
    pixel for pixel, also in it.
    """
    with errors_as_lines():
        _prepare(json_file, html_file)
        VIEWS[tta]
        path = weights_path(weights)
        model = load_weights(path, device=resolve_device(device))
        crops = read(data, data_format, on_error)
        if protocol is not None:
            crops = divided(crops, protocol, fold)
        split = split or _default_split(crops)
        chosen, dropped = match_labels(
            crops.split(split), model.labels or (), drop_unknown=drop_unknown_labels
        )
        start = time.perf_counter()
        probabilities = predict_crops(model, chosen, tta=tta, batch_size=batch_size)
        seconds = time.perf_counter() - start
        results = {ALL: classification_metrics(probabilities, chosen.labels, chosen.label_names)}
        new, note = _new_images(chosen, crops, split)
        if new.any():
            results[NEW] = classification_metrics(probabilities[new], chosen.labels[new], chosen.label_names)
        report = EvaluationReport(
            weights=path.name,
            model=model.spec.name,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            data=data.resolve().name,
            split=split,
            results=results,
            tta=tta,
            record=read_record(path),
            dropped=dropped,
            notes=(note,),
            machine=_machine(next(model.parameters()).device),
            seconds=seconds,
        )
        if json_file is not None:
            report.write_json(json_file)
        if html_file is not None:
            report.write_html(html_file)
    _print(report)


def _prepare(json_file: Path | None, html_file: Path | None) -> None:
    """What would otherwise fail after the work: unwritable places and missing libraries."""
    for file in (json_file, html_file):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    for library in ("sklearn", *(() if html_file is None else ("jinja2", "matplotlib"))):
        if find_spec(library) is None:
            raise ImportError(f"This needs {library}: pip install 'fer_attention[train]'.")


def _default_split(crops: FaceCrops) -> str:
    """FER2013's `private`, else `test`, else the only one, if that is all."""
    splits = sorted(set(crops.splits.tolist()))
    for name in ("private", "test"):
        if name in splits:
            return name
    if splits == ["all"]:
        return "all"
    raise DataError(f"There is no split private or test; choose one with --split: {', '.join(splits)}.")


def _new_images(chosen: FaceCrops, crops: FaceCrops, split: str) -> tuple[NDArray[np.bool_], str]:
    """(N,), true where an image is not also a training image (nowhere if that is unknown), in words too."""
    if split == TRAIN:
        return np.zeros(len(chosen), dtype=bool), "These are the training images themselves."
    if TRAIN not in crops.splits:
        note = f"The data has no split {TRAIN}, so copies of training images could not be looked for."
        return np.zeros(len(chosen), dtype=bool), note
    new = ~chosen.seen_in(crops.split(TRAIN))
    copies = int((~new).sum())
    return new, f"{copies} of the {len(new)} images are, pixel for pixel, also in the data's split {TRAIN}."


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
    for name, metrics in report.results.items():
        out.print(_class_table(name, metrics))
    out.print("Intervals are Wilson's; ECE is the expected calibration error in 15 bins.", highlight=False)
    for note in report.notes:
        out.print(escape(note), soft_wrap=True, highlight=False)
    for label, count in report.dropped.items():
        out.print(escape(f"Left out: {count} images labelled {label}, which the model does not know."))


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
