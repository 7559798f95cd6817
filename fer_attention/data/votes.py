"""Votes of several people on FER2013's images, joined to the images of any layout.

Two kinds of tables are read. FER+'s own `fer2013new.csv` has the rows of `fer2013.csv` in the same order. A
table with the columns `label` and `file` names the images of the Kaggle folders, `angry/Training_1.jpg`. Its
column `ferplus_row`, if there is one, is the row of `fer2013new.csv`, from 0: it joins `fer2013.csv` as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeAlias

import numpy as np

from fer_attention.bounded import bounded, cut
from fer_attention.data.fer2013_csv import FER2013_CSV, VOTES_CSV, find_csv, is_count
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import OnError, PathLike, Source, open_source
from fer_attention.data.splits import split_of
from fer_attention.data.tables import Row, table_rows
from fer_attention.emotions import canonical
from fer_attention.registry import check_choice

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
"""Columns of counts: FER+'s eight emotions in its order, then other answers."""

NOBODY = (0,) * len(VOTE_COLUMNS)

Key: TypeAlias = int | tuple[str, str]
"""A row of `fer2013.csv`, from 1, or (label, file name)."""


@dataclass(frozen=True)
class Ballot:
    """One row of a table of votes.

    Attributes:
        usage: Training, PublicTest or PrivateTest; None where the row is too damaged to tell.
        counts: Ten numbers in the order of `VOTE_COLUMNS`; zeros where FER+ removed the image.
        damage: Why the counts cannot be used, empty if they can.
    """

    usage: str | None
    counts: tuple[int, ...]
    damage: str = ""


@dataclass(frozen=True)
class VoteTable:
    """A table of votes, read.

    Attributes:
        path: Where it was, for messages.
        names_files: Whether its rows name files; those of FER+'s own table have the order of `fer2013.csv`.
        ballots: Its rows, each by all its keys.
        skipped: (row, reason) of the rows that name no image any more.
    """

    path: PathLike
    names_files: bool
    ballots: Mapping[Key, Ballot]
    skipped: tuple[tuple[str, str], ...]

    def join(self, crops: FaceDataset) -> FaceDataset:
        """Return the images with `votes`; see `with_votes`."""
        key_of = self._key_of(crops)
        found = [self.ballots.get(key_of(name)) for name in crops.names.tolist()]
        if len(crops) and not any(found):
            raise DataError(
                f"{self.path} has votes on none of these {len(crops)} images, such as {crops.names[0]}."
            )
        usable, damaged = [], []
        for row, (name, split, ballot) in enumerate(zip(crops.names, crops.splits, found, strict=True)):
            if ballot and ballot.usage is not None and split_of(ballot.usage) != split:
                raise DataError(
                    f"{name} is of the split {str(split)!r} in the images and {ballot.usage!r} in "
                    f"{self.path}: they do not belong together, so no row can be trusted. Take FER2013 as it "
                    "was published."
                )
            if ballot and ballot.damage:
                damaged.append((str(name), ballot.damage))
            else:
                usable.append(row)
        counts = np.array([ballot.counts if ballot else NOBODY for ballot in found], dtype=np.int64)
        joined = replace(crops, votes=counts.reshape(-1, len(VOTE_COLUMNS)))
        return replace(joined.take(usable), skipped=(*crops.skipped, *damaged, *self.skipped))

    def _key_of(self, crops: FaceDataset) -> Callable[[str], Key]:
        """Return the function from an image's name to its row, where images and table name them alike."""
        if all(re.fullmatch(r"row\d+", name) for name in crops.names.tolist()):
            if not any(isinstance(key, int) for key in self.ballots):
                raise DataError(
                    f"{self.path} names files; to join the rows of fer2013.csv it needs a column ferplus_row."
                )
            return lambda name: int(name.removeprefix("row"))
        if not self.names_files:
            raise DataError(
                f"{self.path} numbers the rows of fer2013.csv, and these images are files, such as "
                f"{crops.names[0]}: their order is lost. Use fer2013.csv, or a table of votes with the "
                "columns label and file."
            )

        def of_file(name: str) -> Key:
            path = PurePosixPath(name)
            return canonical(path.parent.name), path.name

        return of_file


def with_votes(crops: FaceDataset, votes: PathLike, *, on_error: OnError = "raise") -> FaceDataset:
    """Add the votes of ten people to FER2013's images, as the column `votes`.

    Images without votes stay, with zeros.

    >>> from fer_attention.data import load_fer2013
    >>> faces = with_votes(load_fer2013("fer2013.zip"), "ferplus_votes.csv")  # doctest: +SKIP
    >>> faces.votes[0].sum()  # doctest: +SKIP
    10

    Args:
        crops: What `load_fer2013` gives, or some of it.
        votes: The table: a CSV file, or a folder or zip file that holds it.
        on_error: `"raise"` on votes that cannot be used, or `"skip"` their images and list them.

    Raises:
        DataError: The table is absent or damaged, fits another layout of FER2013, or none of its rows or
            rows of another split fit the images.
    """
    return read_votes(votes, on_error=on_error).join(crops)


def read_votes(path: PathLike, *, on_error: OnError = "raise") -> VoteTable:
    """Read a table of votes.

    Args:
        path: A CSV file, or a folder or zip file that holds it.
        on_error: `"raise"` on a row that cannot be used, or `"skip"` it once its image is known.

    Raises:
        DataError: The table is absent, empty or damaged, or names an image twice.
        ValueError: `on_error` is something else.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    ballots: dict[Key, Ballot] = {}
    skipped = []
    names_files = False
    with open_source(path) as source:
        for row in table_rows(source, _table(source), needed=("usage", *VOTE_COLUMNS)):
            names_files = {"label", "file"} <= row.columns.keys()
            if not names_files and "image name" not in row.columns:
                raise DataError(
                    f"{path} names no images: it has neither the column 'Image name' of {VOTES_CSV} nor "
                    f"'label' and 'file', but {cut(', '.join(row.columns))}."
                )
            ballot, keys = _ballot(row), _keys(row) if names_files else [row.number]
            if ballot.damage and on_error == "raise":
                raise DataError(
                    f"{path}: row {row.number}: {ballot.damage} Pass on_error='skip' to leave such rows out."
                )
            if not keys:
                skipped.append((f"row {row.number}", ballot.damage))
            for key in keys:
                if key in ballots:
                    raise DataError(f"{path}: row {row.number}: {cut(str(key))} is in the table twice.")
                ballots[key] = ballot
    if not ballots:
        raise DataError(
            f"{path} has no row of votes{f'; the first is damaged: {skipped[0]}' if skipped else ''}."
        )
    return VoteTable(path, names_files, ballots, tuple(skipped))


def _table(source: Source) -> str:
    """Return FER+'s own table in a source, or its only CSV file."""
    found = find_csv(source, (VOTES_CSV,))
    if found is None or PurePosixPath(found).name.lower() in FER2013_CSV:
        raise DataError(
            f"{source.path} has no table of votes: {VOTES_CSV}, or a single CSV file with the columns label "
            "and file. Pass the table's own path as votes (--votes)."
        )
    return found


def _ballot(row: Row) -> Ballot:
    usage = None
    try:
        usage = row["usage"]
        if "image name" in row.columns and not row["image name"]:  # removed by FER+
            return Ballot(usage, NOBODY)
        texts = [row[column] for column in VOTE_COLUMNS]
        if not all(map(is_count, texts)):
            raise DataError(f"the votes {cut(', '.join(texts))} are not all whole numbers.")
        if "ferplus_row" in row.columns and not is_count(row["ferplus_row"]):
            raise DataError(f"the ferplus_row {bounded(row['ferplus_row'])} is not a whole number.")
    except DataError as error:
        return Ballot(usage, NOBODY, damage=str(error))
    return Ballot(usage, tuple(map(int, texts)))


def _keys(row: Row) -> list[Key]:
    """All that name the image of a row in a table that names files; none if one of them is damaged."""
    if not row.whole:
        return []
    keys: list[Key] = [(canonical(row["label"]), row["file"])]
    if "ferplus_row" in row.columns:
        if not is_count(row["ferplus_row"]):
            return []
        keys.append(int(row["ferplus_row"]) + 1)
    return keys
