"""A data set: photos named `EMOTION@PERSON.png`."""

from __future__ import annotations

from pathlib import PurePosixPath

from fer_attention.data import FaceDataset
from fer_attention.data.loading import reader
from fer_attention.data.sources import OnError, PathLike, Rows, Source, face_of, open_source
from fer_attention.emotions import FER2013


def recognises(source: Source) -> bool:
    """Whether the source holds a photo named `EMOTION@PERSON`."""
    return any("@" in PurePosixPath(name).stem for name in source.images())


@reader("at_names", recognises=recognises, layout="photos named as happy@ann.png")
def load_at_names(
    path: PathLike, *, size: tuple[int, int] = (48, 48), on_error: OnError = "raise"
) -> FaceDataset:
    """All photos with their subjects."""
    rows = Rows(path, on_error)
    with open_source(path) as source:
        for name in source.images():
            with rows.reading(name):
                emotion, _, person = PurePosixPath(name).stem.partition("@")
                image = face_of(source.image(name), size=size)
                rows.add(name, image, FER2013.index(emotion), subject=person)
    return rows.faces(FER2013, missing=f"No photo named EMOTION@PERSON under {path}")
