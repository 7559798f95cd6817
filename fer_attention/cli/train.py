"""`fer-attention train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_attention.cli import datasets
from fer_attention.cli.choices import choices
from fer_attention.cli.common import Device, examples, interruptions, say
from fer_attention.cli.training_output import print_result, training_bar, training_callbacks

if TYPE_CHECKING:
    from fer_attention.data import FaceDataset
    from fer_attention.data.records import Division

EXAMPLES = examples(
    "fer-attention train compact --data fer2013.zip --output my_run",
    "fer-attention train robust --data fer2013.zip --votes fer2013new.csv --output my_run --set epochs=60",
    "fer-attention train my_run --data fer2013.zip --output more --set epochs=10",
)


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help=f"{choices('training.recipes.RECIPES')}, a YAML file, or the folder of a run to extend."
        ),
    ],
    data: Annotated[Path, typer.Option(help=datasets.DATA_HELP)],
    output: Annotated[Path, typer.Option(help="Folder of this run; an interrupted run resumes there.")],
    model: Annotated[str | None, typer.Option(help="Model instead of the recipe's, with its width.")] = None,
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
    fold: datasets.FoldNumber = None,
    fraction: Annotated[float, typer.Option(help="Share of the training images, by class.")] = 1.0,
    on_error: datasets.OnError = "raise",
    device: Device = "auto",
) -> None:
    """Train a model; a split that is never reported selects the epoch.

    FER2013's official split selects on PublicTest and does not touch PrivateTest. Data sets without splits
    are split by the protocol; the default is free of leakage. Ctrl-C saves; the same command resumes. The
    folder of an earlier run as RECIPE gives a new run that starts from its best weights, with its settings
    and its fold.
    """
    from fer_attention.data import default_protocol, limit_training
    from fer_attention.data.loading import resolve_format
    from fer_attention.data.origin import data_origin, store_origin, stored_origin
    from fer_attention.data.protocols import check_protocol
    from fer_attention.data.records import Division
    from fer_attention.data.splits import check_fraction
    from fer_attention.device import resolve_device
    from fer_attention.training import check_run, load_recipe
    from fer_attention.training import train as run
    from fer_attention.training.precision import resolve_precision
    from fer_attention.training.setup import input_form

    changes = _changes(settings or [])
    if model is not None:
        changes["model"] = model
    division = None
    if Path(recipe).is_dir():
        recipe, changes, division = _extended(Path(recipe), changes)
    config = load_recipe(recipe, changes)
    if protocol is not None:
        division = Division(protocol, fold or 0, config.seed)
    elif division is not None and fold is not None:
        division = replace(division, fold=fold)
    check_fraction(fraction)
    if division is not None:
        check_protocol(division.protocol, division.fold, **division.options)
    options = {"votes": votes, "target": target, "emotions": emotions, "label_share": label_share}
    by_votes = {name: value for name, value in options.items() if value is not None}
    if by_votes and data_format not in ("auto", "fer2013", "ferplus"):
        given = ", ".join(f"--{name.replace('_', '-')}" for name in by_votes)
        raise ValueError(
            f"{given} are for votes on FER2013; --data-format {data_format} is another data set."
        )
    data_format = "ferplus" if by_votes else resolve_format(data, data_format)
    form = datasets.form_options(data, data_format, *input_form(config))
    result = check_run(config, output, device=device)
    reading = {"labels": labels, "on_error": on_error, **by_votes, **form}
    reading |= {"protocol": protocol, "fold": fold, "fraction": fraction, "division": division}
    origin = data_origin(data, data_format, reading)
    if result is not None and stored_origin(output) == origin:
        say(f"{output} contains this run, finished on these data; nothing was trained.")
        print_result(result, data)
        return
    crops = datasets.read(data, data_format, on_error, labels, **by_votes, **form)
    division = division or Division(default_protocol(crops), fold or 0, config.seed)
    crops = limit_training(_divided(crops, division), fraction, seed=config.seed)
    bar = training_bar()
    precision = resolve_precision(config, resolve_device(device))
    say(f"{config.model}, {config.epochs} epochs in {precision}, seed {config.seed}, into {output}")
    with interruptions(output), bar:
        result = run(config, crops, output, device=device, callbacks=training_callbacks(bar))
    store_origin(output, origin)
    print_result(result, data)


def _extended(run: Path, changes: dict[str, Any]) -> tuple[str, dict[str, Any], Division | None]:
    """Return the config file, the changes and the fold of a run that starts from another."""
    from fer_attention.data.seen import division_of
    from fer_attention.models import read_metadata

    if fixed := sorted({"model", "structure", "weights", "backbone_weights"} & set(changes)):
        raise ValueError(f"The run {run} fixes {', '.join(fixed)}; extend it without, or use a recipe.")
    weights = run / "best.safetensors"
    division = division_of(read_metadata(weights).record)
    start = {"weights": str(weights), "backbone_weights": None}
    return str(run / "config.json"), {**changes, **start}, division


def _divided(crops: FaceDataset, division: Division) -> FaceDataset:
    if division.protocol == "official" and not division.fold:  # whose splits the data set has already
        return crops.with_splits(crops.splits, division)
    return datasets.split_by(crops, division.protocol, division.fold, seed=division.seed, **division.options)


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
