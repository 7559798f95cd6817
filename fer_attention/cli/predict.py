"""`fer-attention predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from fer_attention.atomic import replacing, write_atomically
from fer_attention.cli.choices import DEFAULT_WEIGHTS
from fer_attention.cli.common import Device, examples, fail, make_parents, out, progress
from fer_attention.cli.datasets import OnError
from fer_attention.cli.detectors import DetectorName, DetectorWeights, MinScore, WeightsName, load_recognizer
from fer_attention.registry import unknown_name

if TYPE_CHECKING:
    from fer_attention.recognizer import FacePrediction

EXAMPLES = examples(
    "fer-attention predict photo.jpg",
    "fer-attention predict photos/ --output annotated --json faces.json",
    "fer-attention predict photo.jpg --detector yunet --weights resnetv2_18_eca_elu.fer2013",
)


def predict(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.", metavar="PHOTO")],
    output: Annotated[Path | None, typer.Option(help="Folder for annotated pictures.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all results.")] = None,
    weights: WeightsName = DEFAULT_WEIGHTS,
    detector: DetectorName = "mtcnn",
    detector_weights: DetectorWeights = None,
    min_score: MinScore = None,
    on_error: OnError = "raise",
    device: Device = "auto",
) -> None:
    """Recognise the expressions of all faces in photos.

    A photo that cannot be read ends the command. With --on-error skip it is reported, the others are done and
    the exit code is 1. The file of --json holds what was done in any case.
    """
    from fer_attention.faces import ImageError, annotate, load_image
    from fer_attention.faces.photo_files import photo_files, picture_files

    if on_error not in ("raise", "skip"):
        raise unknown_name("value of --on-error:", on_error, ("raise", "skip"))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    make_parents(json_file)
    recognizer = load_recognizer(weights, detector, detector_weights, min_score, device)
    files = photo_files(photos)
    pictures = picture_files(files, output) if output is not None else {}
    records: list[dict[str, Any]] = []
    failed = 0
    headings = ("face", "box", "emotion", "probability")
    table = Table(Column("photo", overflow="fold"), *(Column(heading, no_wrap=True) for heading in headings))
    try:
        for file in progress(files, "recognising"):
            try:
                image = load_image(file)
            except ImageError as error:
                if on_error == "raise":
                    raise ValueError(f"{error} To do the others: --on-error skip.") from error
                fail(f"{error} Skipped.")
                failed += 1
                continue
            faces = recognizer.predict(image)
            record = {"image": str(file), "width": image.width, "height": image.height}
            records.append({**record, "faces": [face.to_dict() for face in faces]})
            _add_rows(table, file, faces)
            if file in pictures:
                captions = [f"{face.emotion} {face.probability:.0%}" for face in faces]
                with replacing(pictures[file]) as temporary:
                    annotate(image, [face.face for face in faces], captions).save(temporary, "PNG")
    finally:  # an interrupted run keeps what it has
        if json_file is not None:
            write_atomically(json_file, json.dumps(records, indent=2).encode())
    out.print(table)
    if failed:
        fail(f"{failed} of {len(files)} photos could not be read.")
        raise typer.Exit(1)


def _add_rows(table: Table, file: Path, faces: list[FacePrediction]) -> None:
    if not faces:
        table.add_row(str(file), "none found")
    for number, face in enumerate(faces, start=1):
        box = " ".join(f"{value:.0f}" for value in face.face.box)
        table.add_row(
            str(file) if number == 1 else "", str(number), box, face.emotion, f"{face.probability:.0%}"
        )
