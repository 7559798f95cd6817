"""`fer-attention train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fer_attention.cli.common import Device, err, errors_as_lines, fail, out
from fer_attention.data import FaceCrops
from fer_attention.data.folds import Protocol
from fer_attention.data.loading import load_data
from fer_attention.data.protocols import create_protocol, training_fraction
from fer_attention.training import Epoch, Listener, load_recipe
from fer_attention.training import Progress as Position
from fer_attention.training import train as run


def train(
    recipe: Annotated[str, typer.Argument(help="compact, paper, strong, quick, finetune, or a YAML file.")],
    data: Annotated[Path, typer.Option(help="FER2013, FER+, CK+, JAFFE or a folder of images by class.")],
    output: Annotated[Path, typer.Option(help="Folder of this run; an interrupted run goes on there.")],
    model: Annotated[str | None, typer.Option(help="Another model than the recipe's, full width.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field: epochs=10, augment.flip=0.")
    ] = None,
    data_format: Annotated[str, typer.Option("--format", help="Layout of the data.")] = "auto",
    protocol: Annotated[
        str | None, typer.Option(help="A protocol's name, or a file of data split; official by default.")
    ] = None,
    fold: Annotated[int, typer.Option(help="Fold of the protocol, from 0.", min=0)] = 0,
    fraction: Annotated[float, typer.Option(help="Share of the training images, by class.")] = 1.0,
    on_error: Annotated[str, typer.Option(help="Damaged images: raise, or skip and list them.")] = "raise",
    device: Device = "auto",
) -> None:
    """Train a model; a split that is never reported selects the epoch.

    FER2013's official split selects on PublicTest and leaves PrivateTest closed. Ctrl-C saves; the same
    command goes on where the run stopped.
    """
    with errors_as_lines():
        changes = _changes(settings or [])
        if model is not None:
            changes["model"] = model
        config = load_recipe(recipe, changes)
        crops = load_data(data, format=data_format, on_error=on_error)  # type: ignore[arg-type]
        if crops.skipped:
            names = ", ".join(name for name, _ in crops.skipped[:5])
            err.print(f"{len(crops.skipped)} images are left out, the first: {names}", highlight=False)
        crops = _split(crops, protocol, fold, fraction, config.seed)
        bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                "loss {task.fields[loss]:.3f}  {task.fields[accuracy]:.1%}  {task.fields[rate]:.0f} images/s"
            ),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        out.print(
            f"{config.model}, {config.epochs} epochs, seed {config.seed}, into {output}", soft_wrap=True
        )
        try:
            with bar:
                result = run(config, crops, output, device=device, listener=_listener(bar))
        except KeyboardInterrupt:
            fail(f"stopped; what was done is saved in {output}. The same command goes on from there.")
            sys.exit(130)
    best = result.best
    out.print(
        f"Best epoch {best.epoch} of {len(result.history)}: {best.validation_accuracy:.2%} on the selection "
        f"split. Weights: {result.weights}",
        soft_wrap=True,
        highlight=False,
    )


def _split(crops: FaceCrops, protocol: str | None, fold: int, fraction: float, seed: int) -> FaceCrops:
    if protocol is not None:
        file = Path(protocol)
        chosen = (
            Protocol.load(file, crops)
            if file.suffix == ".json"
            else create_protocol(protocol, crops, seed=seed)
        )
        if fold >= len(chosen.folds):
            raise ValueError(f"--fold {fold}: {chosen.name} has folds 0 to {len(chosen.folds) - 1}.")
        crops = chosen.folds[fold].apply(crops)
    if fraction != 1:
        training = crops.splits == "train"
        rows = training.nonzero()[0][training_fraction(crops.take(training), fraction, seed=seed)]
        keep = ~training
        keep[rows] = True
        crops = crops.take(keep)
    return crops


def _listener(bar: Progress) -> Listener:
    task = bar.add_task("", epoch=1, loss=0.0, accuracy=0.0, rate=0.0)

    def on_progress(position: Position) -> None:
        bar.update(
            task,
            total=position.steps,
            completed=position.step,
            epoch=position.epoch,
            loss=position.loss,
            accuracy=position.train_accuracy,
            rate=position.images_per_second,
        )

    def on_epoch(epoch: Epoch) -> None:
        out.print(
            f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  train {epoch.train_accuracy:.2%}  "
            f"validation {epoch.validation_accuracy:.2%}  {epoch.images_per_second:.0f} images/s  "
            f"{epoch.seconds:.0f} s",
            highlight=False,
        )

    def on_warning(text: str) -> None:
        err.print(f"[bold yellow]warning:[/] {escape(text)}", soft_wrap=True, highlight=False)

    return Listener(on_progress=on_progress, on_epoch=on_epoch, on_warning=on_warning)


def _changes(settings: list[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator:
            raise ValueError(f"--set takes field=value, got {setting!r}.")
        *parents, last = path.split(".")
        place = changes
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = yaml.safe_load(text)
    return changes
