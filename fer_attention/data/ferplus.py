"""FER+ (Barsoum et al. 2016, arXiv:1608.01041): ten people's votes on each of FER2013's images.

Its table `fer2013new.csv` has the rows of `fer2013.csv` in the same order, and no pixels. What the votes make
of an image follows the paper's section 3 as the authors' released training code applies it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Literal, TypeAlias, get_args

import numpy as np

from fer_attention.data.fer2013_csv import (
    FER2013_CSV,
    SPLITS,
    VOTES_CSV,
    CsvRow,
    csv_rows,
    find_csv,
    row_image,
    row_name,
    row_usage,
)
from fer_attention.data.loading import reader
from fer_attention.data.records import DataError, FaceCrops
from fer_attention.data.sources import OnError, PathLike, Rows, Source, open_source
from fer_attention.emotions import FERPLUS
from fer_attention.registry import unknown_name

Target: TypeAlias = Literal["majority", "distribution"]

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
OTHERS = ("unknown", "nf")  # "not a face"
MOST_EMOTIONS = 3


def recognises(source: Source) -> bool:
    """Whether both FER+'s table and one of FER2013's are there."""
    return bool(source.named(VOTES_CSV)) and any(source.named(name) for name in FER2013_CSV[:2])


@reader("ferplus", recognises=recognises, layout=f"{VOTES_CSV} and fer2013.csv in one folder")
def load_ferplus_folder(
    path: PathLike, *, target: Target = "majority", on_error: OnError = "raise"
) -> FaceCrops:
    """FER+ from one folder or zip that holds both its table and FER2013's; see `load_ferplus`."""
    return load_ferplus(path, path, target=target, on_error=on_error)


def load_ferplus(
    votes: PathLike, fer2013: PathLike, *, target: Target = "majority", on_error: OnError = "raise"
) -> FaceCrops:
    """FER2013's images under FER+'s eight emotions; rows are named as `load_fer2013` names them.

    Images that FER+'s rules leave out are no errors: they are listed in `skipped` whatever `on_error` is,
    with the rule as the reason. See `agreed_emotions` for the rules.

    Args:
        votes: `fer2013new.csv`, or a folder or zip that holds it.
        fer2013: `fer2013.csv` or `icml_face_data.csv` with all its rows, or a folder or zip that holds it.
            Folders of images do not do: they lack the order of rows that joins the two.
        target: `"majority"` keeps the images on whose emotion more than half of the votes agree;
            `"distribution"` keeps up to three emotions an image, as rows of `targets`, with the likeliest
            (of several, the first in order) as the label.
        on_error: `"raise"` on the first row that cannot be used, or `"skip"` it and list it in `skipped`.

    Raises:
        DataError: A table is absent or damaged, or the two differ in rows or in the Usage of a row.
        UnknownNameError: There is no such target.
    """
    if target not in get_args(Target):
        raise unknown_name("target", target, get_args(Target))
    rows = Rows(votes, on_error, unit="rows")
    for voted, face in _joined(votes, fer2013):
        with rows.reading(f"row {voted.number}"):
            emotions, reason = agreed_emotions(_counts(voted), target)
            if not voted["image name"]:
                reason = "removed by FER+"
            if reason:
                rows.leave_out(f"row {voted.number}", reason)
                continue
            distribution = np.array(emotions, dtype=np.float32) / np.float32(sum(emotions))
            rows.add(
                row_name(face),
                row_image(face),
                int(distribution.argmax()),
                split=SPLITS[row_usage(face)],
                target=distribution if target == "distribution" else None,
            )
    return rows.faces(FERPLUS, missing=f"No usable row in {votes}")


def agreed_emotions(votes: Sequence[int], target: Target) -> tuple[list[int], str]:
    """What FER+'s rules keep of an image's votes.

    Single votes count as errors and are dropped first. Under `"majority"` the emotion with more than half of
    the others is kept. Under `"distribution"` the emotions are kept from the most votes on, those with
    equally many together, until they hold three quarters, or there are three, or it is the turn of unknown or
    "not a face", which is not kept unless it is the first; the image is left out if they hold no more than
    half, or are more than three.

    Args:
        votes: Ten counts, of the eight emotions, of unknown and of "not a face".
        target: Which rule.

    Returns:
        The votes of the eight emotions that are kept, and why the image is left out, empty if it is not.
    """
    counts = [count if count > 1 else 0 for count in votes]
    kept = _peak(counts) if target == "majority" else _peaks(counts)
    if 2 * sum(kept) <= sum(counts):
        return kept[: len(EMOTIONS)], "no majority"
    if sum(map(bool, kept)) > MOST_EMOTIONS:
        return kept[: len(EMOTIONS)], f"more than {MOST_EMOTIONS} emotions"
    first = kept.index(max(kept))
    reason = {len(EMOTIONS): "unknown", len(EMOTIONS) + 1: "not a face"}.get(first, "")
    return kept[: len(EMOTIONS)], reason


def _peak(counts: list[int]) -> list[int]:
    first = counts.index(max(counts))
    return [count if place == first else 0 for place, count in enumerate(counts)]


def _peaks(counts: list[int]) -> list[int]:
    kept = [0] * len(counts)
    for peak in sorted({count for count in counts if count}, reverse=True):
        if 4 * sum(kept) >= 3 * sum(counts) or sum(map(bool, kept)) >= MOST_EMOTIONS:
            break
        for place in (place for place, count in enumerate(counts) if count == peak):
            if place >= len(EMOTIONS):
                if not any(kept):
                    kept[place] = peak
                return kept
            kept[place] = peak
    return kept


def _joined(votes: PathLike, fer2013: PathLike) -> Iterator[tuple[CsvRow, CsvRow]]:
    """The rows of both tables, side by side."""
    with open_source(votes) as of_votes, open_source(fer2013) as of_faces:
        table = find_csv(of_votes, (VOTES_CSV,))
        faces = find_csv(of_faces, FER2013_CSV)
        for name, path, wanted in ((table, votes, VOTES_CSV), (faces, fer2013, "fer2013.csv")):
            if name is None:
                raise DataError(f"{path} has no {wanted}: FER+ joins the rows of its table to that one's.")
        pairs = zip_longest(
            csv_rows(of_votes, str(table), needed=("usage", "image name", *EMOTIONS, *OTHERS)),
            csv_rows(of_faces, str(faces), needed=("emotion", "pixels", "usage")),
        )
        for voted, face in pairs:
            if voted is None or face is None:
                shorter, longer = (votes, fer2013) if voted is None else (fer2013, votes)
                count = (voted or face).number - 1
                raise DataError(
                    f"{shorter} has {count} rows and {longer} has more. FER+ has one row for each of "
                    "FER2013's 35,887, in its order: take the whole of both tables."
                )
            if voted.whole and face.whole and voted["usage"] != face["usage"]:
                raise DataError(
                    f"Row {face.number} is {face['usage']!r} in {fer2013} and {voted['usage']!r} in {votes}: "
                    "the tables are not in the same order, so no row can be trusted. "
                    "Take fer2013.csv as it was published."
                )
            yield voted, face


def _counts(row: CsvRow) -> list[int]:
    texts = [row[column] for column in (*EMOTIONS, *OTHERS)]
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise DataError(f"the votes {', '.join(texts)} are not all whole numbers.")
    return [int(text) for text in texts]
