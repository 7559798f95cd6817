"""CK+, the extended Cohn-Kanade set (Lucey et al. 2010): posed expressions of 123 people, filmed.

Every sequence runs from a neutral face to the peak of one expression. The set comes in three layouts:

- the original release, `cohn-kanade-images/S005/001/S005_001_00000001.png` and, for a third of the sequences,
  `Emotion/S005/001/S005_001_00000011_emotion.txt`;
- the public copy `CK+48/<emotion>/S005_001_00000011.png`, the last three frames of the labelled sequences as
  crops of 48×48;
- the public copy `ckextended.csv`, such crops with FER2013's columns, without the names of people.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import TypeAlias

from PIL import Image

from fer_attention.data.fer2013 import label_of
from fer_attention.data.fer2013_csv import find_csv, is_pixel_csv, pixel_rows, row_image, row_name
from fer_attention.data.files import check_form
from fer_attention.data.labels import LabelMap
from fer_attention.data.loading import reader
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import Crop, OnError, PathLike, Pixels, Rows, Source, face_of, open_source
from fer_attention.emotions import CKPLUS, canonical

ToFace: TypeAlias = Callable[[Image.Image], Pixels]

CSV = "ckextended.csv"
CSV_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt")
FRAME = re.compile(r"(S\d+)_(\d+)_\d+", re.IGNORECASE)
EMOTION_FILE = "_emotion.txt"
PEAK_FRAMES = 3


def recognises(source: Source) -> bool:
    """Return whether there are frames named as CK+'s, or a table of pixels of its name."""
    return any(FRAME.match(PurePosixPath(name).name) for name in source.images()) or any(
        is_pixel_csv(source, name) for name in source.named(CSV)
    )


@reader(
    "ckplus",
    recognises=recognises,
    layout=f"CK+48/<emotion>/S005_001_00000011.png, {CSV}, or cohn-kanade-images/ and Emotion/",
)
def load_ckplus(
    path: PathLike,
    *,
    size: tuple[int, int] = (48, 48),
    crop: Crop | None = None,
    neutral: bool = True,
    on_error: OnError = "raise",
) -> FaceDataset:
    """Load the labelled frames, with subject and sequence if the layout names them.

    Of the original release the last three frames of a sequence have its label. Sequences without a label file
    are listed in `skipped` as "no emotion label", for any `on_error`.

    >>> faces = load_ckplus("CK+48", label_names=("angry", "happy", "sad"))  # doctest: +SKIP

    Args:
        path: A folder or zip of one of the layouts, or `ckextended.csv`.
        size: (H, W) that every frame is resized to, pixels.
        crop: Cuts the face out of a frame before, for instance a `fer_attention.faces.FaceCropper`. The
            original frames are photos of 640×490 or 640×480 with their background: without a crop they are
            squeezed to the size as they are, which is rarely wanted.
        neutral: Whether neutral faces come along: the first frame of each labelled sequence of the original
            release, the neutral rows of the CSV file, or a folder `neutral` that was added to CK+48.
            `label_names` then ends with `neutral`. CK+48 as published has none, so that its label names are
            the seven.
        on_error: `"raise"` on the first file or row that cannot be used, or `"skip"` it and list it in
            `skipped`.

    Raises:
        DataError: Nothing is there, the layout is another, or something is damaged or has no face.
    """
    check_form(size, channels=1)
    rows = Rows(path, on_error)
    face = partial(face_of, size=size, crop=crop)
    expected = "CK+ is expected as a folder or zip of CK+48 or of the original release, or as ckextended.csv."
    label_names = (*CKPLUS, "neutral") if neutral else CKPLUS
    with open_source(path, expected=expected) as source:
        if (table := find_csv(source, (CSV,))) is not None:
            _read_csv(source, table, rows, label_names, face)
        elif _is_original(source):
            _read_original(source, rows, label_names, face)
        else:
            if "neutral" not in {canonical(PurePosixPath(name).parent.name) for name in source.images()}:
                label_names = CKPLUS
            _read_ck48(source, rows, label_names, face)
    return rows.faces(label_names, missing=f"No CK+ frame under {path}. {expected} Found none")


def _is_original(source: Source) -> bool:
    folders = {part for name in source.names for part in PurePosixPath(name).parts[:-1]}
    return "cohn-kanade-images" in folders or any(name.endswith(EMOTION_FILE) for name in source.names)


def _sequence(name: str) -> tuple[str, str]:
    """Parse subject and sequence from the file name of a frame or label: S005 and S005_001."""
    match = FRAME.match(PurePosixPath(name).name)
    if match is None:
        raise DataError("the file name is not of the form S005_001_00000011, so its subject is unknown.")
    return match[1].upper(), f"{match[1]}_{match[2]}".upper()


def _read_ck48(source: Source, rows: Rows, label_names: tuple[str, ...], face: ToFace) -> None:
    for name in source.images():
        with rows.reading(name):
            folder = PurePosixPath(name).parent.name
            emotion = canonical(folder)
            if emotion not in (*CKPLUS, "neutral"):
                raise DataError(f"the folder {folder!r} is not one of {', '.join(label_names)}.")
            subject, sequence = _sequence(name)
            if emotion not in label_names:
                rows.skipped.append((name, "neutral"))
                continue
            label = label_names.index(emotion)
            rows.add(name, face(source.image(name)), label, subject=subject, sequence=sequence)


def _read_csv(source: Source, table: str, rows: Rows, label_names: tuple[str, ...], face: ToFace) -> None:
    rows.unit = "rows"
    emotions = LabelMap({str(code): emotion for code, emotion in enumerate(CSV_EMOTIONS)}, CSV_EMOTIONS)
    for row in pixel_rows(source, table):
        with rows.reading(f"row {row.number}"):
            if emotions[row["emotion"]] == "neutral" and "neutral" not in label_names:
                rows.skipped.append((f"row {row.number}", "neutral"))
            elif (label := label_of(row["emotion"], emotions, label_names)) is not None:
                image = face(Image.fromarray(row_image(row)))
                rows.add(row_name(row), image, label, split=row.split("train"))


def _read_original(source: Source, rows: Rows, label_names: tuple[str, ...], face: ToFace) -> None:
    sequences: dict[str, list[str]] = defaultdict(list)
    for name in source.images():
        with rows.reading(name):
            sequences[_sequence(name)[1]].append(name)
    labels = {}
    for name in (name for name in source.names if name.endswith(EMOTION_FILE)):
        with rows.reading(name):
            labels[_sequence(name)[1]] = _emotion(source, name)
            if _sequence(name)[1] not in sequences:
                raise DataError("there are no frames of this sequence.")
    for sequence, names in sequences.items():
        if sequence not in labels:
            rows.skipped.append((sequence, "no emotion label"))
            continue
        labelled: list[tuple[str, str]] = []
        with rows.reading(sequence):
            labelled = _labelled(names, labels[sequence])
        for name, emotion in labelled:
            with rows.reading(name):
                if emotion in label_names:
                    image, label = face(source.image(name)), label_names.index(emotion)
                    rows.add(name, image, label, subject=sequence.split("_")[0], sequence=sequence)
                else:
                    rows.skipped.append((name, "neutral"))


def _emotion(source: Source, name: str) -> str:
    """Read the emotion from a label file; its number has the form `   3.0000000e+00`."""
    codes = ("neutral", *CKPLUS)
    text = source.read(name).decode(errors="replace").strip()
    try:
        code = codes[int(number)] if (number := float(text)).is_integer() and number >= 0 else None
    except (ValueError, IndexError):
        code = None
    if code is None:
        raise DataError(f"{text[:40]!r} is not an emotion code from 0 to {len(codes) - 1}.")
    return code


def _labelled(names: list[str], emotion: str) -> list[tuple[str, str]]:
    """Return the labelled frames of a sequence with their labels: the first, and those at the peak."""
    if len(names) <= PEAK_FRAMES:
        raise DataError(f"{len(names)} frames, too few for a neutral one and {PEAK_FRAMES} at the peak.")
    return [(names[0], "neutral"), *((name, emotion) for name in names[-PEAK_FRAMES:])]
