"""Parts that the commands on data sets share: options, reading, dividing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fer_attention.cli.common import err, out, warnings_as_lines
from fer_attention.data import FaceCrops, ProtocolWarning, open_protocol
from fer_attention.data.loading import load_data

DATA_HELP = "FER2013, FER+, CK+, JAFFE or a folder of images by class: a folder, zip or CSV file."

Format = Annotated[str, typer.Option("--format", help="Layout of the data: auto, or a reader's name.")]
OnError = Annotated[str, typer.Option(help="Damaged images: raise, or skip and list them.")]
ProtocolName = Annotated[
    str | None, typer.Option("--protocol", help="A protocol's name, or a file of data split.")
]
Votes = Annotated[
    Path | None,
    typer.Option("--votes", help="Votes on FER2013: fer2013new.csv, or a table that names files."),
]
FoldNumber = Annotated[int, typer.Option(help="Fold of the protocol, from 0.", min=0)]


def read(path: Path, data_format: str, on_error: str, **options: Any) -> FaceCrops:
    """Read the data set and report skipped images."""
    crops = load_data(path, format=data_format, on_error=on_error, **options)  # type: ignore[arg-type]
    if crops.skipped:
        name, reason = crops.skipped[0]
        err.print(
            f"{len(crops.skipped)} images are left out, the first: {name} ({reason})",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return crops


def divided(crops: FaceCrops, protocol: str, number: int, *, seed: int = 0) -> FaceCrops:
    """Apply one fold of a protocol, by its name or its file: train, validation and test become the splits."""
    with warnings_as_lines(ProtocolWarning):
        made = open_protocol(protocol, crops, seed=seed)
    fold = made.fold(number)
    out.print(f"protocol {made.name}, {fold.name}", highlight=False, markup=False)
    return fold.apply(crops)
