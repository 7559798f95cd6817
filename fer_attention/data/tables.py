"""Tables in any usual encoding, delimiter and order of columns, with or without a header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fer_attention.bounded import cut
from fer_attention.data.labels import EMOTIONS, key_of
from fer_attention.data.records import DataError
from fer_attention.data.sources import Source, is_table_name
from fer_attention.data.splits import split_of
from fer_attention.emotions import canonical
from fer_attention.faces.photo_files import is_image_name

HEADINGS = {
    "emotion": ("emotion", "label", "labels", "class", "expression", "emotions", "target", "category"),
    "pixels": ("pixels", "pixel"),
    "usage": ("usage", "split", "set", "subset", "partition"),
    "file": (
        "file", "filename", "file_name", "path", "filepath", "file_path", "image", "img", "image_name",
        "image_path", "img_path", "name", "subdirectory_filepath", "pth",
    ),
}  # fmt: skip
"""Names of the columns by what they hold, in lower case."""

_DELIMITERS = (",", ";", "\t", "|")
MAX_LINE = 1_000_000
"""Characters of a line; a row of FER2013 has 9,000."""

_HEAD = 65_536  # bytes that show encoding and delimiter
_PIXELS = re.compile(r"\s*\d+(\s+\d+){99,}\s*")

_LOOKS_LIKE: dict[str, Callable[[str], bool]] = {
    "pixels": lambda cell: _PIXELS.fullmatch(cell) is not None,
    "file": is_image_name,
    "usage": lambda cell: split_of(cell) is not None,
    "emotion": lambda cell: canonical(cell) in EMOTIONS or key_of(cell).isdecimal(),
}


@dataclass(frozen=True)
class Row:
    """One row of a table; what it cannot say is a DataError.

    Attributes:
        number: Its number among the data rows, from 1.
        cells: What it holds.
        columns: Position of each column by its name, in lower case without blanks, and by its role.
        width: Number of cells that the header has.
    """

    number: int
    cells: list[str]
    columns: Mapping[str, int]
    width: int

    @property
    def whole(self) -> bool:
        """True if it has as many cells as the header."""
        return len(self.cells) == self.width

    def __getitem__(self, column: str) -> str:
        """Return a cell without surrounding blanks."""
        if not self.whole:
            found = f" ({cut(self.cells[0], 80)})" if len(self.cells) == 1 else ""
            raise DataError(f"{len(self.cells)} cells instead of {self.width}{found}.")
        return self.cells[self.columns[column]].strip()

    def split(self, default: str) -> str:
        """Return the split of its usage, in any spelling, or the default where the column is missing."""
        if "usage" not in self.columns:
            return default
        if (split := split_of(self["usage"])) is None:
            known = "Training, PublicTest, PrivateTest"
            raise DataError(f"the usage {self['usage'][:40]!r} is not one of {known}.")
        return split


def table_rows(
    source: Source, name: str, *, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[Row]:
    """Yield the rows of a table of a source; empty lines are skipped.

    The encoding is UTF-8 or UTF-16, the delimiter a comma, semicolon, tab, bar or, in lists of image files,
    blanks. A first row without any known heading is data, if its cells show which column is which.

    Args:
        source: Where the table is.
        name: The table.
        needed: Columns that must be there: roles in `HEADINGS`, or names in lower case.
        optional: Roles that may be there.

    Raises:
        DataError: A column is missing, or the table is damaged.
    """
    number = 0
    try:
        with source.open(name) as file:
            head = file.read(_HEAD)
        with source.open(name) as file:
            encoding = encoding_of(head)
            text = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")
            delimiter = delimiter_of(head.decode(encoding, errors="replace"))
            lines = _cells(csv.reader(_lines(text), delimiter=delimiter, skipinitialspace=delimiter == " "))
            first = next(lines, [])
            columns = _headings(first, (*needed, *optional))
            if not columns.keys() & {*needed} and (guessed := _guess(first, needed, optional)):
                columns, number = guessed, 1
                yield Row(number, first, columns, len(first))
            if missing := [column for column in needed if column not in columns]:
                hint = " A table of pixels without emotion, as Kaggle's test.csv, has no labels."
                raise DataError(
                    f"{source.path}: {name} has no column {', '.join(missing)}; its first row is "
                    f"{cut(', '.join(first)) or 'empty'}.{hint if missing == ['emotion'] else ''}"
                )
            for cells in lines:
                number += 1
                yield Row(number, cells, columns, len(first))
    except DataError:
        raise
    except Exception as error:  # the csv module, zip members and their codecs have no common error class
        reason = cut(str(error) or type(error).__name__)
        raise DataError(f"{source.path}: {name} cannot be read beyond row {number}: {reason}.") from error


def _cells(lines: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield the rows that are not empty; of a damaged one, the reason as its only cell."""
    while True:
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            cells = [str(error)]
        if cells:
            yield cells


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a file; of one that would not fit into memory, a sentence in its place.

    Raises:
        ValueError: The file is not a table: a line does not end.
    """
    while line := text.readline(MAX_LINE):
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            for _ in range(20):
                if len(rest := text.readline(MAX_LINE)) < MAX_LINE or rest[-1] in "\r\n":
                    break
            else:
                raise ValueError(f"a line has more than {20 * MAX_LINE} characters")
            line = f"a line of more than {MAX_LINE} characters\n"
        yield line


def encoding_of(head: bytes) -> str:
    """Tell UTF-16, with or without a byte order mark, from UTF-8.

    >>> encoding_of("emotion".encode("utf-16")), encoding_of(b"emotion"), encoding_of("e".encode("utf-16-be"))
    ('utf-16', 'utf-8-sig', 'utf-16-be')
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding, high in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if high and 2 * high.count(0) > len(high):
            return encoding
    return "utf-8-sig"


def delimiter_of(text: str) -> str:
    """Return the delimiter of a table's first line.

    >>> delimiter_of("emotion;pixels;Usage"), delimiter_of("train_00001.jpg 5"), delimiter_of("pixels")
    (';', ' ', ',')
    """
    first = re.sub(r'"[^"]*"', "", text.lstrip("\ufeff\r\n").split("\n", 1)[0])
    counts = {delimiter: first.count(delimiter) for delimiter in _DELIMITERS}
    if any(counts.values()):
        return max(counts, key=lambda delimiter: counts[delimiter])
    parts = first.split()
    return " " if len(parts) > 1 and any(map(is_image_name, parts)) else ","


def find_tables(source: Source) -> list[str]:
    """Return the names of the tables of a source."""
    return [name for name in source.names if is_table_name(name)]


def _headings(first: Sequence[str], roles: Sequence[str]) -> dict[str, int]:
    """Return the position of each column by its name and, of the first column that fits, by its role."""
    columns = {cell.strip().lower(): place for place, cell in enumerate(first)}
    for role in roles:
        fitting = [columns[heading] for heading in HEADINGS.get(role, ()) if heading in columns]
        if fitting:
            columns.setdefault(role, fitting[0])
    return columns


def _guess(first: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Tell the columns of a table without header by their cells; empty where that is not certain."""
    columns: dict[str, int] = {}
    for role in ("pixels", "file", "usage", "emotion"):
        if role not in (*needed, *optional):
            continue
        fitting = [
            place
            for place, cell in enumerate(first)
            if place not in columns.values() and _LOOKS_LIKE[role](cell.strip())
        ]
        if len(fitting) == 1:
            columns[role] = fitting[0]
        elif role in needed:
            return {}
    return columns if set(needed) <= columns.keys() else {}
