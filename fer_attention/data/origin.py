"""Origin of a data set: digests of its files, and what can be checked before they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fer_attention.data.files import file_digest
from fer_attention.data.loading import FORMATS, recognised_format
from fer_attention.data.records import DataError
from fer_attention.data.sources import PathLike, open_source
from fer_attention.data.splits import PARTS


def source_digest(path: PathLike) -> str:
    """Return a hash of a file, or of the names and contents of all files of a folder, without decoding any.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_text("emotion,pixels")
    ...     before = source_digest(folder)
    ...     _ = Path(folder, "a.csv").write_text("emotion,pixel")
    ...     before == source_digest(folder)
    False

    Raises:
        DataError: Nothing is there, or a folder cannot be read.
    """
    place = Path(path)
    if place.is_file():
        return file_digest(place)
    content = hashlib.sha256()
    with open_source(place) as source:
        for name in source.names:
            content.update(f"{name}\n{file_digest(place / name)}\n".encode("utf-8", "surrogateescape"))
    return content.hexdigest()


def check_split(split: str, path: PathLike, data_format: str, *, divided: bool) -> None:
    """Check that a data set can have a split, by its format and the names of its files alone.

    Args:
        split: Name of the split.
        path: The data set.
        data_format: Name of its format, or `auto`.
        divided: Whether a protocol gives the splits.

    Raises:
        DataError: It cannot; or the format is not recognised.
        UnknownNameError: There is no such format.
    """
    name = recognised_format(path) if data_format == "auto" else data_format
    possible: Iterable[str] = PARTS if divided else FORMATS[name].splits
    if possible and split not in possible:
        owner = "a protocol" if divided else f"the data format {name}"
        raise DataError(f"No split {split!r}: {owner} gives {', '.join(possible)}.")
