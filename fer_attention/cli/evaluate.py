"""`fer-attention evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fer_attention.atomic import write_atomically
from fer_attention.cli.common import Device, errors_as_lines, out
from fer_attention.data import load_fer2013
from fer_attention.device import resolve_device
from fer_attention.evaluation import Accuracy, accuracy, predict_logits
from fer_attention.models import load_weights
from fer_attention.models.bundled import weights_path


def evaluate(
    weights: Annotated[str, typer.Argument(help="Bundled weights by name, or a weights file.")],
    data: Annotated[Path, typer.Option(help="FER2013: its folder or zip file.")],
    split: Annotated[str, typer.Option(help="public (selects) or private (reports).")] = "private",
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the numbers.")] = None,
    device: Device = "auto",
) -> None:
    """Accuracy of a weights file on a split of FER2013, in one plain pass."""
    with errors_as_lines():
        if json_file is not None:  # before the work: an unwritable place must not cost its result
            json_file.parent.mkdir(parents=True, exist_ok=True)
        path = weights_path(weights)
        model = load_weights(path, device=resolve_device(device))
        faces = load_fer2013(data)
        if model.labels != faces.label_names or model.preprocessing is None:
            raise ValueError(f"{path} names {model.labels}, but FER2013 has {faces.label_names}.")
        chosen = faces.split(split)
        images = model.preprocessing.normalize(model.preprocessing.prepare(chosen.images))
        predicted = predict_logits(model, images).argmax(1).numpy()
        new = ~chosen.seen_in(faces.split("train"))
        results = {
            "all images": accuracy(predicted, chosen.labels),
            "without duplicates of training images": accuracy(predicted[new], chosen.labels[new]),
        }
        if json_file is not None:
            record = {
                "weights": path.name,
                "split": split,
                "results": {k: _record(v) for k, v in results.items()},
            }
            write_atomically(json_file, json.dumps(record, indent=2).encode())
    table = Table(title=f"{path.name} on FER2013 {split}, one plain pass")
    for heading in ("images", "n", "accuracy", "95 % interval (Wilson)", "balanced accuracy"):
        table.add_column(heading)
    for name, result in results.items():
        interval = f"{result.low:.2%} to {result.high:.2%}"
        table.add_row(name, str(result.n), f"{result.value:.2%}", interval, f"{result.balanced:.2%}")
    out.print(table)


def _record(result: Accuracy) -> dict[str, float | int | list[float]]:
    return {
        "accuracy": result.value,
        "interval_95": [result.low, result.high],
        "balanced_accuracy": result.balanced,
        "correct": result.correct,
        "n": result.n,
    }
