"""Options of the commands that read data sets, reading and splitting."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_attention.atomic import write_atomically
from fer_attention.cli.choices import choices
from fer_attention.cli.common import DATA, err, say
from fer_attention.cli.wording import as_typed
from fer_attention.emotions import FIRST_CODES

if TYPE_CHECKING:
    from fer_attention.data import FaceDataset

ORIGIN = "data.json"
"""File of a run's folder that says which data it was trained on."""

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


def form_options(path: Path, data_format: str, size: tuple[int, int], channels: int) -> dict[str, Any]:
    """Return the options that make a reader give images as a model takes them, of those that it has.

    A folder of images that would fill several gigabytes is streamed from the disk.
    """
    from fer_attention.data import FORMATS
    from fer_attention.data.loading import recognised_format
    from fer_attention.data.sources import open_source

    name = recognised_format(path) if data_format == "auto" else data_format
    known = inspect.signature(FORMATS[name].load).parameters
    options: dict[str, Any] = {"size": size, "channels": channels}
    options = {option: value for option, value in options.items() if option in known}
    if "stream" in known and path.is_dir():
        with open_source(path) as source:
            count = len(source.images())
        if count * size[0] * size[1] * channels > MEMORY:
            options["stream"] = True
    return options


def _origin(path: Path, reading: dict[str, Any]) -> dict[str, Any]:
    """Describe data and how they are read, with digests of the files, as plain values."""
    from fer_attention.data.origin import source_digest

    files = {str(value): source_digest(value) for value in reading.values() if _is_file(value)}
    plain = {name: value if value is None else str(value) for name, value in reading.items()}
    return {"data": source_digest(path), "reading": plain, "files": files}


def _is_file(value: Any) -> bool:
    return isinstance(value, (Path, str)) and Path(value).is_file()


def remember(output: Path, path: Path, reading: dict[str, Any]) -> None:
    """Store in the folder of a finished run which data were read, and how."""
    content = json.dumps(_origin(path, reading), indent=1, sort_keys=True)
    write_atomically(output / ORIGIN, content.encode())


def read_before(output: Path, path: Path, reading: dict[str, Any]) -> bool:
    """Return whether a finished run has read the same files in the same way."""
    try:
        before = json.loads((output / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(before == _origin(path, reading))


def split_by(crops: FaceDataset, protocol: str, number: int, *, seed: int = 0, **options: Any) -> FaceDataset:
    """Split data by one fold of a protocol, which is a name or a file."""
    from fer_attention.data import open_protocol

    made = open_protocol(protocol, crops, seed=seed, **options)
    fold = made.fold(number)
    say(f"protocol {made.name}, {fold.name}")
    return fold.apply(crops)
