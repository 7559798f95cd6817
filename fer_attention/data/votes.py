"""Votes of several people on FER2013's images, joined to the images in whatever layout they are.

Two kinds of tables are read. FER+'s own `fer2013new.csv` has the rows of `fer2013.csv` in the same order. A
table with the columns `label` and `file` names the images of the Kaggle folders, `angry/Training_1.jpg`; its
column `ferplus_row`, if there is one, is the row of `fer2013new.csv`, from 0, and joins `fer2013.csv` as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fer_attention.data.fer2013_csv import SPLITS, VOTES_CSV, CsvRow, csv_rows, find_csv
from fer_attention.data.records import DataError, FaceCrops
from fer_attention.data.sources import OnError, PathLike, Source, open_source
from fer_attention.emotions import canonical

VOTE_COLUMNS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "nf",  # "not a face"
)
"""Columns of counts: FER+'s eight emotions in its order, then what is none of them."""

Key: TypeAlias = int | tuple[str, str]
"""A row of `fer2013.csv`, from 1, or (label, file name)."""


@dataclass(frozen=True)
class _Entry:
    usage: str
    counts: tuple[int, ...]  # zeros where FER+ removed the image
    damage: str = ""


def with_votes(crops: FaceCrops, votes: PathLike, *, on_error: OnError = "raise") -> FaceCrops:
    """Add the votes of ten people to FER2013's images, as the column `votes`.

    Images without votes stay, with zeros.

    Args:
        crops: What `load_fer2013` gives, or some of it.
        votes: The table: a CSV file, or a folder or zip file that holds it.
        on_error: `"raise"` on votes that cannot be used, or `"skip"` their images and list them.

    Raises:
        DataError: The table is absent or damaged, fits another layout of FER2013, or none of its rows or
            rows of another split fit the images.
    """
    keyed, entries = _read(votes, on_error)
    key_of = _key_of(crops, votes, keyed=keyed, entries=entries)
    nobody = _Entry("", (0,) * len(VOTE_COLUMNS))
    found = [entries.get(key_of(name), nobody) for name in crops.names.tolist()]
    if len(crops) and not any(entry.usage for entry in found):
        raise DataError(f"{votes} has votes on none of these {len(crops)} images, such as {crops.names[0]}.")
    for name, split, entry in zip(crops.names, crops.splits, found, strict=True):
        if entry.usage and SPLITS.get(entry.usage) != split:
            raise DataError(
                f"{name} is of the split {str(split)!r} in the images and {entry.usage!r} in {votes}: they do "
                "not belong together, so no row can be trusted. Take FER2013 as it was published."
            )
    whole = np.array([not entry.damage for entry in found], dtype=bool)
    damaged = tuple(
        (str(name), entry.damage)
        for name, entry in zip(crops.names, found, strict=True)
        if entry.damage
    )
    counts = np.array([entry.counts for entry in found], dtype=np.int64).reshape(-1, len(VOTE_COLUMNS))
    joined = replace(crops, votes=counts)
    return replace(joined.take(whole), skipped=(*crops.skipped, *damaged))


def find_votes(source: Source) -> str | None:
    """FER+'s own table in a source, or its only CSV file; None without one."""
    return find_csv(source, (VOTES_CSV,))


def count_rows(votes: PathLike) -> int | None:
    """The number of rows of FER+'s own table; None of a table that names files."""
    keyed, entries = _read(votes, "skip")
    return None if keyed else len(entries)


def _read(votes: PathLike, on_error: OnError) -> tuple[bool, dict[Key, _Entry]]:
    """Whether the table names files, and its rows by all their keys."""
    entries: dict[Key, _Entry] = {}
    with open_source(votes) as source:
        table = find_votes(source)
        if table is None:
            raise DataError(f"{votes} holds no table of votes: {VOTES_CSV}, or a CSV file with label and file.")
        keyed = False
        for row in csv_rows(source, table, needed=("usage", *VOTE_COLUMNS)):
            keyed = {"label", "file"} <= row.columns.keys()
            if not keyed and "image name" not in row.columns:
                raise DataError(
                    f"{votes} names no images: the columns 'Image name' of {VOTES_CSV}, or 'label' and 'file', "
                    f"are missing; there are {', '.join(row.columns)}."
                )
            entry = _entry(row, keyed=keyed)
            if entry.damage and on_error == "raise":
                raise DataError(
                    f"{votes}: row {row.number}: {entry.damage} Pass on_error='skip' to leave such rows out."
                )
            for key in _keys(row, keyed=keyed):
                if key in entries:
                    raise DataError(f"{votes}: row {row.number}: {key} stands in the table twice.")
                entries[key] = entry
    return keyed, entries


def _entry(row: CsvRow, *, keyed: bool) -> _Entry:
    nothing = (0,) * len(VOTE_COLUMNS)
    try:
        usage = row["usage"]
        if not keyed and not row["image name"]:  # removed by FER+
            return _Entry(usage, nothing)
        texts = [row[column] for column in VOTE_COLUMNS]
        if not all(text.isascii() and text.isdigit() for text in texts):
            raise DataError(f"the votes {', '.join(texts)} are not all whole numbers.")
    except DataError as error:
        return _Entry(row.cells[0].strip() if row.cells else "", nothing, damage=str(error))
    return _Entry(usage, tuple(map(int, texts)))


def _keys(row: CsvRow, *, keyed: bool) -> list[Key]:
    if not keyed:
        return [row.number]
    if not row.whole:
        return []
    keys: list[Key] = [(canonical(row["label"]), row["file"])]
    if "ferplus_row" in row.columns and row["ferplus_row"].isdigit():
        keys.append(int(row["ferplus_row"]) + 1)
    return keys


def _key_of(
    crops: FaceCrops, votes: PathLike, *, keyed: bool, entries: dict[Key, _Entry]
) -> Callable[[str], Key]:
    """From an image's name to its row, as far as images and table name them alike."""
    by_row = bool(len(crops)) and re.fullmatch(r"row\d+", str(crops.names[0])) is not None
    if by_row and not any(isinstance(key, int) for key in entries):
        raise DataError(f"{votes} names files; to join the rows of fer2013.csv it needs a column ferplus_row.")
    if not by_row and not keyed:
        raise DataError(
            f"{votes} numbers the rows of fer2013.csv, and these images are files, such as "
            f"{crops.names[0] if len(crops) else 'none'}: their order is lost. Take fer2013.csv, or a table "
            "of votes with the columns label and file."
        )
    if by_row:
        return lambda name: int(name.removeprefix("row"))

    def of_file(name: str) -> Key:
        path = PurePosixPath(name)
        return canonical(path.parent.name), path.name

    return of_file
