"""`fer-attention predict`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Table

from fer_attention.atomic import write_atomically
from fer_attention.cli.common import Device, err, errors_as_lines, examples, fail, make_parents, out
from fer_attention.cli.datasets import OnError, check_on_error
from fer_attention.cli.detectors import DetectorName, DetectorWeights, MinScore, detector_options
from fer_attention.faces import ImageError, annotate, create_detector, load_image
from fer_attention.faces.photo_files import photo_files, picture_files
from fer_attention.models.bundled import DEFAULT
from fer_attention.recognizer import EmotionRecognizer, FacePrediction

EXAMPLES = examples(
    "fer-attention predict photo.jpg",
    "fer-attention predict photos/ --output annotated --json faces.json",
    "fer-attention predict photo.jpg --detector yunet --weights resnetv2_18_eca_elu.fer2013",
)


def predict(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.", metavar="PHOTO…")],
    output: Annotated[Path | None, typer.Option(help="Folder for annotated pictures.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all results.")] = None,
    weights: Annotated[str, typer.Option(help="Bundled weights by name, or a weights file.")] = DEFAULT,
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
    with errors_as_lines():
        check_on_error(on_error)
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
        make_parents(json_file)
        found_by = create_detector(detector, device=device, **detector_options(detector_weights, min_score))
        recognizer = EmotionRecognizer.from_pretrained(weights, detector=found_by, device=device)
        files = photo_files(photos)
        pictures = picture_files(files, output) if output is not None else {}
        records: list[dict[str, Any]] = []
        failed = 0
        table = Table()
        table.add_column("photo", overflow="fold")
        for heading in ("face", "box", "emotion", "probability"):
            table.add_column(heading, no_wrap=True)
        try:
            for file in track(files, "recognising", console=err, disable=len(files) < 2, transient=True):
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
                    content = io.BytesIO()
                    annotate(image, [face.face for face in faces], captions).save(content, "PNG")
                    write_atomically(pictures[file], content.getvalue())
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
