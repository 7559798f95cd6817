"""Tables of faces as FER2013's own CSV file: one row a face, its grey pixels as numbers in a cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fer_attention.data.records import DataError
from fer_attention.data.sources import Pixels, Source

FER2013_CSV = ("fer2013.csv", "icml_face_data.csv", "train.csv")
VOTES_CSV = "fer2013new.csv"  # FER+'s labels for the same rows
SPLITS = {"Training": "train", "PublicTest": "public", "PrivateTest": "private"}
SIZE = (48, 48)


@dataclass(frozen=True)
class CsvRow:
    """One row of a CSV file; what it cannot say is a DataError.

    Attributes:
        number: Its number among the data rows, from 1.
        cells: What it holds.
        columns: Place of each column by its name, in lower case without blanks.
    """

    number: int
    cells: list[str]
    columns: Mapping[str, int]

    @property
    def whole(self) -> bool:
        """True if it has as many cells as the header."""
        return len(self.cells) == len(self.columns)

    def __getitem__(self, column: str) -> str:
        """Return a cell without surrounding blanks."""
        if not self.whole:
            raise DataError(f"{len(self.cells)} cells instead of {len(self.columns)}.")
        return self.cells[self.columns[column]].strip()

    @property
    def name(self) -> str:
        """Name of a row of pixels in the record: `row0000017` is the 17th."""
        return f"row{self.number:07}"

    @property
    def split(self) -> str:
        """The split of its Usage; train if the column is missing, as in Kaggle's train.csv."""
        usage = self["usage"] if "usage" in self.columns else "Training"
        if usage not in SPLITS:
            raise DataError(f"the Usage {usage!r} is not one of {', '.join(SPLITS)}.")
        return SPLITS[usage]

    def emotion(self, count: int) -> int:
        """Return the emotion's code, from 0 to `count` - 1."""
        text = self["emotion"]
        if not (is_count(text) and int(text) < count):
            raise DataError(f"the emotion {text!r} is not in 0 to {count - 1}.")
        return int(text)

    def image(self) -> Pixels:
        """Decode the pixels to uint8 (48, 48), from 2,304 numbers with blanks between them."""
        text = self["pixels"]
        if text.encode().translate(None, b"0123456789 "):  # anything else would end the parsing silently
            parts = text.split()
            if strange := [part for part in parts if not is_count(part)]:
                raise DataError(f"the pixel {strange[0]!r} is not a whole number from 0 to 255.")
            text = " ".join(parts)
        pixels = np.fromstring(text, dtype=np.int64, sep=" ")
        if pixels.size != SIZE[0] * SIZE[1]:
            raise DataError(f"{pixels.size} pixels instead of {SIZE[0] * SIZE[1]}, 48×48.")
        if pixels.max() > 255:
            raise DataError(f"the pixel {pixels.max()} is above 255.")
        return pixels.astype(np.uint8).reshape(SIZE)


def is_count(text: str) -> bool:
    """Return whether a cell holds a whole number, 0 or more."""
    return text.isascii() and text.isdigit()


def csv_rows(source: Source, name: str, *, needed: tuple[str, ...]) -> Iterator[CsvRow]:
    """Yield the rows of a CSV file of a source; empty lines are skipped.

    A DataError says which of the `needed` columns, in lower case, is missing, or where the file is damaged.
    """
    number = 0
    try:
        with source.open(name) as file:
            lines = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
            columns = {column.strip().lower(): place for place, column in enumerate(next(lines, []))}
            if missing := [column for column in needed if column not in columns]:
                hint = " A table of pixels without emotion, as Kaggle's test.csv, has no labels."
                file_name = source.path if source.path.name == name else f"{source.path}: {name}"
                raise DataError(
                    f"{file_name} has no column {', '.join(missing)}; its first row is "
                    f"{', '.join(columns)[:200] or 'empty'}.{hint if missing == ['emotion'] else ''}"
                )
            for cells in filter(None, lines):
                number += 1
                yield CsvRow(number, cells, columns)
    except DataError:
        raise
    except Exception as error:  # the csv module, zip members and their codecs have no common error class
        raise DataError(f"{source.path}: {name} cannot be read beyond row {number}: {error}.") from error


def find_csv(source: Source, known: tuple[str, ...]) -> str | None:
    """Return the table of a source: the first known name that exists, or its only CSV file."""
    for file_name in known:
        if found := source.named(file_name):
            if len(found) > 1:
                raise DataError(f"{source.path} has {' and '.join(found)}. Pass the path of the one to read.")
            return found[0]
    tables = [name for name in source.names if name.lower().endswith(".csv")]
    return tables[0] if len(tables) == 1 and not source.images() else None


def is_pixel_csv(source: Source, name: str) -> bool:
    """Return whether a file's first row names a column of pixels."""
    try:
        next(csv_rows(source, name, needed=("pixels",)), None)
    except DataError:
        return False
    return True
