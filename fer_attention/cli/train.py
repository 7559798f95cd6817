"""`fer-attention train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fer_attention.cli import datasets
from fer_attention.cli.choices import choices
from fer_attention.cli.common import Device, err, examples, interruptions, say, warn

if TYPE_CHECKING:
    from fer_attention.data import FaceDataset
    from fer_attention.training import Epoch, TrainingCallbacks, TrainingProgress

EXAMPLES = examples(
    "fer-attention train compact --data fer2013.zip --output my_run",
    "fer-attention train robust --data fer2013.zip --votes fer2013new.csv --output my_run --set epochs=60",
)


def train(
    recipe: Annotated[str, typer.Argument(help=f"{choices('training.recipes.RECIPES')}, or a YAML file.")],
    data: Annotated[Path, typer.Option(help=datasets.DATA_HELP)],
    output: Annotated[Path, typer.Option(help="Folder of this run; an interrupted run resumes there.")],
    model: Annotated[str | None, typer.Option(help="Model instead of the recipe's, at full width.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field: epochs=10, augment.flip=0.")
    ] = None,
    data_format: datasets.DataFormat = "auto",
    labels: datasets.Labels = None,
    votes: datasets.Votes = None,
    target: Annotated[
        str | None,
        typer.Option(help="Votes as targets: distribution (the default) or majority."),
    ] = None,
    emotions: Annotated[
        str | None, typer.Option(help="Labels under votes: ferplus (eight, the default) or fer2013 (seven).")
    ] = None,
    label_share: Annotated[
        float | None, typer.Option(help="Share of FER2013's own label beside the votes; by default 0.")
    ] = None,
    protocol: datasets.ProtocolName = None,
    fold: datasets.FoldNumber = 0,
    fraction: Annotated[float, typer.Option(help="Share of the training images, by class.")] = 1.0,
    on_error: datasets.OnError = "raise",
    device: Device = "auto",
) -> None:
    """Train a model; a split that is never reported selects the epoch.

    FER2013's official split selects on PublicTest and does not touch PrivateTest. Data sets without splits
    are split by the protocol; the default is free of leakage. Ctrl-C saves; the same command resumes.
    """
    from fer_attention.data import default_protocol, limit_training
    from fer_attention.device import resolve_device
    from fer_attention.training import load_recipe
    from fer_attention.training import train as run
    from fer_attention.training.setup import resolve_precision

    changes = _changes(settings or [])
    if model is not None:
        changes["model"] = model
    config = load_recipe(recipe, changes)
    options = {"votes": votes, "target": target, "emotions": emotions, "label_share": label_share}
    if by_votes := {name: value for name, value in options.items() if value is not None}:
        crops = _voted(data, data_format, on_error, labels, by_votes)
    else:
        crops = datasets.read(data, data_format, on_error, labels)
    protocol = protocol or default_protocol(crops)
    if protocol != "official" or fold:  # the data set has the official splits already
        crops = datasets.split_by(crops, protocol, fold, seed=config.seed)
    crops = limit_training(crops, fraction, seed=config.seed)
    bar = training_bar()
    precision = resolve_precision(config, resolve_device(device))
    say(f"{config.model}, {config.epochs} epochs in {precision}, seed {config.seed}, into {output}")
    with interruptions(output), bar:
        result = run(config, crops, output, device=device, callbacks=training_callbacks(bar))
    best = result.best
    say(
        f"Best epoch {best.epoch} of {len(result.history)}: {best.validation_accuracy:.2%} on the selection "
        f"split. Weights: {result.weights}"
    )


def training_bar() -> Progress:
    """Create the progress bar of a run's steps, for terminals only."""
    return Progress(
        TextColumn("epoch {task.fields[now].epoch}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[now].loss:.3f}  {task.fields[now].train_accuracy:.1%}"),
        TextColumn("{task.fields[now].images_per_second:.0f} images/s"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


def _voted(
    data: Path, data_format: str, on_error: str, labels: str | None, by_votes: dict[str, Any]
) -> FaceDataset:
    if data_format not in ("auto", "fer2013", "ferplus"):
        given = ", ".join(f"--{name.replace('_', '-')}" for name in by_votes)
        raise ValueError(
            f"{given} are for votes on FER2013; --data-format {data_format} is another data set."
        )
    return datasets.read(data, "ferplus", on_error, labels, **by_votes)


def training_callbacks(bar: Progress) -> TrainingCallbacks:
    """Create callbacks that show steps in the bar, and epochs and warnings as lines."""
    from fer_attention.training import TrainingCallbacks, TrainingProgress

    task = bar.add_task(
        "", now=TrainingProgress(1, 0, 0, loss=0.0, train_accuracy=0.0, images_per_second=0.0)
    )

    def on_progress(now: TrainingProgress) -> None:
        bar.update(task, total=now.steps, completed=now.step, now=now)

    def on_epoch(epoch: Epoch) -> None:
        say(
            f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  train {epoch.train_accuracy:.2%}  "
            f"validation {epoch.validation_accuracy:.2%}  {epoch.images_per_second:.0f} images/s  "
            f"{epoch.seconds:.0f} s"
        )

    return TrainingCallbacks(on_progress=on_progress, on_epoch=on_epoch, on_warning=warn)


def _changes(settings: list[str]) -> dict[str, Any]:
    from fer_attention.yaml_files import parse_yaml

    changes: dict[str, Any] = {}
    for setting in settings:
        path, separator, text = setting.partition("=")
        *parents, last = path.split(".")
        if not separator or not all((*parents, last)):
            raise ValueError(f"--set takes field=value, got {setting!r}.")
        fields = changes
        for parent in parents:
            fields = fields.setdefault(parent, {})
            if not isinstance(fields, dict):
                raise ValueError(f"--set {setting}: {parent} has a value of its own in another --set.")
        fields[last] = parse_yaml(text, where=f"--set {setting}: the value")
    return changes
