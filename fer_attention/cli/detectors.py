"""Options that the commands with a face detector and a model share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_attention.cli.choices import choices
from fer_attention.cli.common import FACES

if TYPE_CHECKING:
    from fer_attention.recognizer import EmotionRecognizer

WeightsName = Annotated[str, typer.Option(help="Bundled weights by name, or a weights file.")]
DetectorName = Annotated[
    str,
    typer.Option("--detector", help=f"Face detector: {choices('faces.DETECTORS')}.", rich_help_panel=FACES),
]
DetectorWeights = Annotated[
    Path | None,
    typer.Option(help="ONNX file of the detector, if it has no weights of its own.", rich_help_panel=FACES),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        help="Smallest confidence of a face, 0 to 1; by default the detector's.", rich_help_panel=FACES
    ),
]

Rotations = Annotated[
    bool,
    typer.Option(
        "--rotations",
        help="Search photos in all four rotations, which takes four times as long.",
        rich_help_panel=FACES,
    ),
]


def detector_options(weights: Path | None, min_score: float | None) -> dict[str, Any]:
    """Return the options for `create_detector` that were given on the command line."""
    given = {"weights": None if weights is None else str(weights), "min_score": min_score}
    return {name: value for name, value in given.items() if value is not None}


def no_face_hint(detector: str, photos: int, total: int) -> str:
    """Return the advice for photos in which the detector found no face."""
    return (
        f"{detector} found no face in {photos} of {total} photos. Try another --detector, a lower "
        "--min-score or, for photos that lie on their side, --rotations; for pictures that show one face "
        "each, --detector none takes the whole picture."
    )


def load_recognizer(
    weights: str,
    detector: str,
    detector_weights: Path | None,
    min_score: float | None,
    device: str,
    *,
    rotations: bool = False,
) -> EmotionRecognizer:
    """Load model and detector by the options of a command."""
    from fer_attention.faces import RotatedDetector, create_detector
    from fer_attention.recognizer import EmotionRecognizer

    options = detector_options(detector_weights, min_score)
    found_by = create_detector(detector, device=device, **options)
    if rotations:
        found_by = RotatedDetector(found_by)
    return EmotionRecognizer.from_pretrained(weights, detector=found_by, device=device)
