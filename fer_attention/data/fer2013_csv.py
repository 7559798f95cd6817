"""Tables of faces as FER2013's own CSV file: one row a face, its grey pixels as numbers in a cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fer_attention.data.records import DataError
from fer_attention.data.sources import Pixels, Source
from fer_attention.data.tables import Row, find_tables, table_rows

FER2013_CSV = ("fer2013.csv", "icml_face_data.csv", "train.csv")
VOTES_CSV = "fer2013new.csv"  # FER+'s labels for the same rows
SPLITS = {"Training": "train", "PublicTest": "public", "PrivateTest": "private"}
SIZE = (48, 48)


def pixel_rows(source: Source, name: str) -> Iterator[Row]:
    """Yield the rows of a table of pixels; a row without usage is for training, as in Kaggle's train.csv."""
    return table_rows(source, name, needed=("emotion", "pixels"), optional=("usage",))


def row_name(row: Row) -> str:
    """Name of a row of pixels in the record: `row0000017` is the 17th."""
    return f"row{row.number:07}"


def row_image(row: Row) -> Pixels:
    """uint8 (48, 48), from 2,304 numbers with blanks between them."""
    text = row["pixels"]
    if text.encode().translate(None, b"0123456789 "):  # anything else would end the parsing silently
        parts = text.split()
        if strange := [part for part in parts if not is_count(part)]:
            raise DataError(f"the pixel {strange[0][:40]!r} is not a whole number from 0 to 255.")
        text = " ".join(parts)
    pixels = np.fromstring(text, dtype=np.int64, sep=" ")
    if pixels.size != SIZE[0] * SIZE[1]:
        raise DataError(f"{pixels.size} pixels instead of {SIZE[0] * SIZE[1]}, 48×48.")
    if pixels.max() > 255:
        raise DataError(f"the pixel {pixels.max()} is above 255.")
    return pixels.astype(np.uint8).reshape(SIZE)


def is_count(text: str) -> bool:
    """Return whether a cell holds a whole number, 0 or more, of at most 18 digits."""
    return len(text) <= 18 and text.isascii() and text.isdigit()


def find_csv(source: Source, known: tuple[str, ...]) -> str | None:
    """Return the table of a source: the first known name that exists, or its only table."""
    for file_name in known:
        if found := source.named(file_name):
            if len(found) > 1:
                raise DataError(f"{source.path} has {' and '.join(found)}. Pass the path of the one to read.")
            return found[0]
    tables = find_tables(source)
    csv_files = [name for name in tables if not name.lower().endswith(".txt")] or tables
    return csv_files[0] if len(csv_files) == 1 and not source.images() else None


def is_pixel_csv(source: Source, name: str) -> bool:
    """Return whether a table has a column of pixels."""
    try:
        next(table_rows(source, name, needed=("pixels",), optional=("emotion", "usage")), None)
    except DataError:
        return False
    return True
