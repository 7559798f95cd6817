"""FER2013 (Goodfellow et al. 2013), as folders of images or as its original CSV file.

Folders are the layout of its public Kaggle copies: `train/<emotion>/Training_*.jpg` and
`test/<emotion>/{PublicTest,PrivateTest}_*.jpg`. Either comes as a directory or as a zip file. The official
split is in the file names or in the column Usage: train on `train`, select on `public`, open `private` once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from fer_attention.data.fer2013_csv import (
    FER2013_CSV,
    SIZE,
    SPLITS,
    VOTES_CSV,
    find_csv,
    is_pixel_csv,
    pixel_rows,
    row_image,
    row_name,
)
from fer_attention.data.labels import CODES, LabelMap, Labels, order_of
from fer_attention.data.loading import reader
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import OnError, PathLike, Pixels, Rows, Source, open_source
from fer_attention.emotions import FER2013


def recognises(source: Source) -> bool:
    """Return whether there are images named as Kaggle's copies are, or a CSV file of FER2013's columns."""
    if source.named(VOTES_CSV):
        return False
    if _has_images(source):
        return True
    table = find_csv(source, FER2013_CSV)
    return table is not None and not _file(table).lower().startswith("ck") and is_pixel_csv(source, table)


@reader(
    "fer2013",
    recognises=recognises,
    layout="train/<emotion>/Training_*.jpg, or one of " + ", ".join(FER2013_CSV),
    splits=("train", "public", "private"),
)
def load_fer2013(path: PathLike, *, labels: Labels | None = None, on_error: OnError = "raise") -> FaceDataset:
    """Load FER2013, or the part that is there: 35,887 grey faces of 48×48 in three splits.

    Rows of a CSV file are named by their number among the data rows, from 1: `row0000017`. They are not named
    as FER+ names them, since its numbers do not count rows: `fer0000059.png` is the 61st row.

    >>> load_fer2013("fer2013.zip").label_names  # doctest: +SKIP
    ('angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral')

    Args:
        path: The folder that holds `train` and `test`, or a zip file of it; or `fer2013.csv` (columns
            emotion, pixels, Usage), `icml_face_data.csv` (the same in another order) or Kaggle's `train.csv`
            (no Usage: all is `train`), or a folder or zip that holds one: the first in this order counts.
        labels: Emotions by the code in the table or the name of the folder, in place of FER2013's seven;
            None leaves a label's images out.
        on_error: `"raise"` on files or rows that cannot be used, or `"skip"` them and list them in `skipped`.

    Raises:
        DataError: Nothing is there, the layout is another, or a file or row is damaged.
    """
    rows = Rows(path, on_error)
    emotions = LabelMap(CODES["fer2013"] if labels is None else labels, FER2013)
    names: Sequence[str] = FER2013
    if labels is not None:
        written = FER2013 if labels.keys() <= {*FER2013} else labels
        names = order_of({emotion for label in written if (emotion := emotions[label]) is not None})
    expected = "FER2013 is expected as a folder or zip with train/ and test/, or as fer2013.csv."
    with open_source(path, expected=expected) as source:
        table = None if _has_images(source) else find_csv(source, FER2013_CSV)
        if table is None:
            _read_images(source, rows, emotions, names)
            missing = f"No FER2013 image under {path}: expected train/<emotion>/Training_*.jpg"
        else:
            rows.unit = "rows"
            for row in pixel_rows(source, table):
                with rows.reading(f"row {row.number}"):
                    if (label := label_of(row["emotion"], emotions, names)) is None:
                        rows.skipped.append((f"row {row.number}", f"its label {row['emotion']} is left out"))
                    else:
                        rows.add(row_name(row), row_image(row), label, split=row.split("train"))
            missing = f"No FER2013 row in {table} of {path}"
    return rows.faces(names, missing=missing)


def label_of(text: str, emotions: LabelMap, names: Sequence[str]) -> int | None:
    """Return the index of a label's emotion, or None if the label is left out.

    Raises:
        DataError: The label is unknown, or its emotion is not among the names.
    """
    emotion = emotions[text]
    if emotion is not None and emotion not in names:
        raise DataError(f"the emotion {emotion!r} is not one of {', '.join(names)}.")
    return None if emotion is None else names.index(emotion)


def _has_images(source: Source) -> bool:
    return any(_prefix(name) in SPLITS for name in source.images())


def _file(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _prefix(name: str) -> str:
    return _file(name).split("_")[0]


def _read_images(source: Source, rows: Rows, emotions: LabelMap, names: Sequence[str]) -> None:
    for name in source.images():
        with rows.reading(name):
            folder = PurePosixPath(name).parent.name
            if (label := label_of(folder, emotions, names)) is None:
                rows.skipped.append((name, f"its label {folder} is left out"))
            elif (prefix := _prefix(name)) not in SPLITS:
                raise DataError(
                    f"the file name starts with none of {', '.join(SPLITS)}, so its split is unknown."
                )
            else:
                rows.add(name, _grey(source.image(name)), label, split=SPLITS[prefix])


def _grey(image: Image.Image) -> Pixels:
    if image.size != SIZE[::-1]:
        raise DataError(f"{image.width}×{image.height} pixels instead of {SIZE[1]}×{SIZE[0]}.")
    return np.asarray(image.convert("L"))
