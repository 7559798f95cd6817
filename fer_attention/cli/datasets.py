"""Options of the commands that read data sets, reading and splitting."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_attention.cli.choices import choices
from fer_attention.cli.common import DATA, err, say
from fer_attention.cli.wording import as_typed
from fer_attention.emotions import FIRST_CODES

if TYPE_CHECKING:
    from fer_attention.classifiers import Classifier
    from fer_attention.data import FaceDataset
    from fer_attention.data.records import Division

MEMORY = 4e9
"""Bytes of images from which on a folder is streamed from the disk."""

DATA_HELP = "Faces with labels, such as FER2013 or a folder of images by class: a folder, archive or table."

DataFormat = Annotated[
    str,
    typer.Option(help=f"Layout of the data: auto, or {choices('data.FORMATS')}.", rich_help_panel=DATA),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="Emotions by label: a YAML file with lines such as '0: angry', or whose numbers they are: "
        f"{', '.join(FIRST_CODES)}.",
        rich_help_panel=DATA,
    ),
]
OnError = Annotated[
    str,
    typer.Option(help="Images that cannot be read: raise, or skip and list them.", rich_help_panel=DATA),
]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help=f"Folds of the data: {choices('data.PROTOCOLS')}, or a file of data split.",
        rich_help_panel=DATA,
    ),
]
FoldNumber = Annotated[
    int | None,
    typer.Option(
        "--fold",
        help="Fold of the protocol, from 0; by default that of the given weights or run, else 0.",
        min=0,
        rich_help_panel=DATA,
    ),
]
Votes = Annotated[
    Path | None,
    typer.Option(
        "--votes",
        help="Votes on FER2013: fer2013new.csv, or a table that names files.",
        rich_help_panel=DATA,
    ),
]


def read(
    path: Path, data_format: str, on_error: str, labels: str | None = None, **options: Any
) -> FaceDataset:
    """Read the data set; report how it was understood, and skipped images."""
    from fer_attention.data import describe, load_data

    if labels is not None:
        options["labels"] = labels
    crops = load_data(path, data_format=data_format, on_error=on_error, **options)  # type: ignore[arg-type]
    say(f"{path.name}: {describe(crops)}", err)
    if crops.skipped:
        name, reason = crops.skipped[0]
        say(f"{len(crops.skipped)} images were skipped, the first: {name} ({as_typed(reason)})", err)
    return crops


def read_for(
    classifier: Classifier,
    path: Path,
    data_format: str,
    on_error: str,
    labels: str | None,
    votes: Path | None,
) -> FaceDataset:
    """Read a data set in the form that a model takes, with votes where a table is given; see `read`."""
    from fer_attention.data import FORMATS, with_votes

    rule = classifier.preprocessing
    options = form_options(path, data_format, rule.size, rule.channels)
    if votes is not None and "votes" in inspect.signature(FORMATS[data_format].load).parameters:
        return read(path, data_format, on_error, labels, votes=votes, **options)
    crops = read(path, data_format, on_error, labels, **options)
    return crops if votes is None else with_votes(crops, votes, on_error=on_error)  # type: ignore[arg-type]


def form_options(path: Path, data_format: str, size: tuple[int, int], channels: int) -> dict[str, Any]:
    """Return the options that make the reader of a format give images as a model takes them.

    A folder of images that would fill several gigabytes is streamed from the disk.
    """
    from fer_attention.data import FORMATS
    from fer_attention.data.sources import open_source

    known = inspect.signature(FORMATS[data_format].load).parameters
    options: dict[str, Any] = {"size": size, "channels": channels}
    options = {option: value for option, value in options.items() if option in known}
    if "stream" in known and path.is_dir():
        with open_source(path) as source:
            count = len(source.images())
        if count * size[0] * size[1] * channels > MEMORY:
            options["stream"] = True
    return options


def split_by(crops: FaceDataset, protocol: str, number: int, *, seed: int = 0, **options: Any) -> FaceDataset:
    """Split data by one fold of a protocol, which is a name or a file."""
    from fer_attention.data import open_protocol

    made = open_protocol(protocol, crops, seed=seed, **options)
    fold = made.fold(number)
    say(f"protocol {made.name}, {fold.name}")
    return fold.apply(crops)


def division_for(classifier: Classifier, protocol: str | None, fold: int | None) -> Division | None:
    """Return how the data of a model were divided; without a protocol, `--fold` needs that to be known."""
    from fer_attention.data.seen import division_of
    from fer_attention.evaluation.copies import record_of

    division = division_of(record_of(classifier))
    if fold is not None and protocol is None and division is None:
        raise ValueError("--fold needs --protocol: the weights do not say how their data were divided.")
    return division


def divide(
    crops: FaceDataset, protocol: str | None, number: int | None, division: Division | None
) -> FaceDataset:
    """Split data by a protocol; what is not given is as it was for training, if that was this protocol."""
    if division is None or protocol not in (None, division.protocol):
        return split_by(crops, str(protocol), number or 0)
    number = division.fold if number is None else number
    return split_by(crops, division.protocol, number, seed=division.seed, **division.options)


def fold_options(protocol: str, division: Division | None) -> Mapping[str, Any]:
    """Return the options of a protocol: those of the training, if that was this protocol."""
    return {} if division is None or division.protocol != protocol else division.options
