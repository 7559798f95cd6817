"""The answer to one photo of many, and many answers as a table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fer_attention.optional import needs_extra

if TYPE_CHECKING:
    import pandas
    from PIL import Image

    from fer_attention.recognizer import FacePrediction

_PHOTO = ("image", "error", "width", "height")


@dataclass(frozen=True)
class PhotoPrediction:
    """The faces of one photo with their expressions, or the reason why it could not be read.

    >>> from fer_attention.faces import Face
    >>> from fer_attention.recognizer import FacePrediction
    >>> happy = FacePrediction(Face((10, 10, 50, 60), 0.99), {"happy": 0.9, "sad": 0.1})
    >>> PhotoPrediction("photo.jpg", (640, 480), (happy,)).to_dict()["faces"][0]["emotion"]
    'happy'

    Attributes:
        source: Name of the photo: its path, or its number in the stream ("photo 3") where it has none.
        size: (width, height) of the upright photo in pixels; None if it could not be read.
        faces: The faces, the largest first.
        error: Why the photo could not be read, or None.
        image: The photo, if it was asked for.
    """

    source: str
    size: tuple[int, int] | None
    faces: tuple[FacePrediction, ...] = ()
    error: str | None = None
    image: Image.Image | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a record for JSON: image, width, height and faces, or image and error."""
        if self.size is None:
            return {"image": self.source, "error": self.error}
        width, height = self.size
        faces = [face.to_dict() for face in self.faces]
        return {"image": self.source, "width": width, "height": height, "faces": faces}


def source_name(source: object, number: int) -> str:
    """Return a photo's path as valid Unicode, or its number in the stream.

    Bytes of a path that are not UTF-8 become hexadecimal escapes.

    >>> source_name(b"not a path", 3)
    'photo 3'
    """
    if isinstance(source, str | os.PathLike):
        return os.fsencode(os.fspath(source)).decode("utf-8", "backslashreplace")
    return f"photo {number}"


def columns(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of `rows` for a model with these emotions."""
    box = ("x1", "y1", "x2", "y2")
    return (*_PHOTO, "face", *box, "score", "emotion", "probability", "unsure", "candidates", *labels)


def rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Flatten the record of a photo: one row for each face, or one without a face.

    Candidates are separated by `|`.

    >>> list(rows({"image": "wall.jpg", "width": 64, "height": 48, "faces": []}))
    [{'image': 'wall.jpg', 'width': 64, 'height': 48}]
    """
    photo: dict[str, Any] = {name: record[name] for name in _PHOTO if name in record}
    for number, face in enumerate(record.get("faces", ()), start=1):
        probabilities = face["probabilities"]
        yield {
            **photo,
            "face": number,
            **dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True)),
            "score": face["score"],
            "emotion": face["emotion"],
            "probability": probabilities[face["emotion"]],
            "unsure": face["unsure"],
            "candidates": "|".join(face["candidates"]),
            **probabilities,
        }
    if not record.get("faces"):
        yield photo


def to_frame(predictions: Iterable[PhotoPrediction]) -> pandas.DataFrame:
    """Return a pandas table with one row for each face, and one for each photo without any.

    Args:
        predictions: Answers of `EmotionRecognizer.predict_iter`.

    Raises:
        ImportError: pandas is not installed.
    """
    with needs_extra("study", "A table needs pandas"):
        import pandas
    records = [prediction.to_dict() for prediction in predictions]
    faces = [face for record in records for face in record.get("faces", ())]
    labels = dict.fromkeys(name for face in faces for name in face["probabilities"])
    return pandas.DataFrame([row for record in records for row in rows(record)], columns=columns(labels))
