"""Folds: which images train, which select, which report; saved by name, checked for people on two sides."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.atomic import write_atomically
from fer_attention.data.records import DataError, Division, FaceDataset
from fer_attention.data.splits import PARTS

RowIndices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """Division of a data set: rows that train, rows that select and rows that are reported.

    >>> images, names = np.zeros((4, 48, 48), dtype=np.uint8), np.array(list("abcd"))
    >>> faces = FaceDataset(images, np.array([0, 1, 0, 1]), names, np.repeat("all", 4), ("happy", "sad"))
    >>> Fold("by hand", np.array([0, 1]), np.array([2]), np.array([3])).apply(faces).splits.tolist()
    ['train', 'train', 'validation', 'test']

    Attributes:
        name: Such as `fold 3` or `KA`.
        train: int64 rows of the set.
        validation: int64 rows; they choose epochs and settings.
        test: int64 rows; opened once.
        shared: What the parts are allowed to share, `subjects` and `sequences`, by the protocol's nature.
        division: Protocol and number of the fold, where it is one of a protocol.
    """

    name: str
    train: RowIndices
    validation: RowIndices
    test: RowIndices
    shared: tuple[str, ...] = ()
    division: Division | None = None

    def apply(self, data: FaceDataset) -> FaceDataset:
        """Return the images of the fold, with the splits `train`, `validation` and `test`, verified."""
        self.check(data)
        rows = [getattr(self, part) for part in PARTS]
        splits = np.repeat(PARTS, [len(one) for one in rows])
        return data.take(np.concatenate(rows)).with_splits(splits, self.division)

    def check(self, data: FaceDataset) -> None:
        """Raise a DataError if two parts share an image, subject or sequence, or a part is empty."""
        columns: dict[str, NDArray[Any] | None] = {
            "images": np.arange(len(data)),
            "subjects": data.subjects,
            "sequences": data.sequences,
        }
        for part in PARTS:
            rows = getattr(self, part)
            if not len(rows):
                raise DataError(f"{self.name}: no image is left for {part}; the set is too small.")
            if rows.min() < 0 or rows.max() >= len(data) or len(set(rows.tolist())) < len(rows):
                raise DataError(f"{self.name}: the rows of {part} are not rows of these {len(data)} images.")
        for what, column in columns.items():
            if column is None or what in self.shared:
                continue
            for a, b in combinations(PARTS, 2):
                both = np.intersect1d(column[getattr(self, a)], column[getattr(self, b)])
                if len(both):
                    shown = ", ".join(map(str, both[:3]))
                    raise DataError(
                        f"{self.name}: {len(both)} {what} are in {a} and in {b}, such as {shown}."
                    )


@dataclass(frozen=True, eq=False)
class Protocol:
    """Folds of a data set.

    >>> images, names = np.zeros((3, 48, 48), dtype=np.uint8), np.array(list("abc"))
    >>> faces = FaceDataset(images, np.zeros(3, dtype=np.int64), names, np.repeat("all", 3), ("happy",))
    >>> protocol = Protocol("by hand", (Fold("fold 0", np.array([0]), np.array([1]), np.array([2])),))
    >>> Protocol.from_json(protocol.to_json(faces), faces).fold(0).test
    array([2])

    Attributes:
        name: Of the registry.
        folds: One or more.
        seed: That drew them, where anything was drawn.
        options: What they were made with besides.
    """

    name: str
    folds: tuple[Fold, ...]
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbered = (
            replace(fold, division=Division(self.name, number, self.seed, self.options))
            for number, fold in enumerate(self.folds)
        )
        object.__setattr__(self, "folds", tuple(numbered))

    def fold(self, number: int) -> Fold:
        """Return one of the folds, counted from 0; a DataError if it does not exist."""
        if not 0 <= number < len(self.folds):
            raise DataError(f"{self.name} has folds 0 to {len(self.folds) - 1}, got fold {number}.")
        return self.folds[number]

    def to_json(self, data: FaceDataset) -> str:
        """Return the folds by image names, which survive another order of the files."""
        folds = [
            {
                "name": fold.name,
                "shared": list(fold.shared),
                **{part: data.names[getattr(fold, part)].tolist() for part in PARTS},
            }
            for fold in self.folds
        ]
        record = {"name": self.name, "seed": self.seed, "options": self.options, "images": len(data)}
        return json.dumps({**record, "label_names": data.label_names, "folds": folds}, indent=1)

    @classmethod
    def from_json(cls, text: str, data: FaceDataset) -> Protocol:
        """Read the protocol of `to_json` for the same images, in any order.

        Raises:
            DataError: The text is not a protocol, or its images are not those of the data.
        """
        row = {name: index for index, name in enumerate(data.names.tolist())}
        try:
            record = json.loads(text)
            names = [name for fold in record["folds"] for part in PARTS for name in fold[part]]
            if missing := [name for name in names if name not in row]:
                raise DataError(
                    f"The protocol names {len(missing)} images that this set lacks, such as {missing[0]}."
                )
            if record["images"] != len(data):
                raise DataError(
                    f"The protocol was made for {record['images']} images, this set has {len(data)}. "
                    "Read the set as it was then, or divide it anew."
                )
            folds = []
            for fold in record["folds"]:
                rows = [np.array([row[name] for name in fold[part]], dtype=np.int64) for part in PARTS]
                folds.append(Fold(fold["name"], rows[0], rows[1], rows[2], shared=tuple(fold["shared"])))
            protocol = cls(record["name"], tuple(folds), record["seed"], record["options"])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            damaged = isinstance(error, json.JSONDecodeError)
            reason = "not valid JSON" if damaged else "a field is missing or has another type"
            raise DataError(f"This is not a file of `fer-attention data split`: {reason}.") from error
        for fold in protocol.folds:
            fold.check(data)
        return protocol

    def save(self, path: str | os.PathLike[str], data: FaceDataset) -> Path:
        """Write `to_json` to a file, whole or not at all."""
        write_atomically(Path(path), self.to_json(data).encode())
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], data: FaceDataset) -> Protocol:
        """Read a file of `save`."""
        try:
            return cls.from_json(_text(path), data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    @staticmethod
    def count(path: str | os.PathLike[str]) -> int:
        """Return the number of folds in a file of `save`.

        Raises:
            DataError: The file is absent or damaged.
        """
        text = _text(path)
        try:
            return len(json.loads(text)["folds"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: This is not a file of `fer-attention data split`.") from error


def _text(path: str | os.PathLike[str]) -> str:
    if not Path(path).is_file():
        raise DataError(f"The protocol file {path} does not exist.")
    return Path(path).read_text(encoding="utf-8")
