"""Origin of a data set: digests of its files, and what can be checked before they are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fer_attention.atomic import write_atomically
from fer_attention.data.loading import FORMATS
from fer_attention.data.records import DataError
from fer_attention.data.sources import PathLike, open_source
from fer_attention.data.splits import PARTS
from fer_attention.digests import file_sha256

ORIGIN = "data.json"
"""File in the folder of a run, a study or a campaign that tells which data it has read, and how."""


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
        return file_sha256(place)
    content = hashlib.sha256()
    with open_source(place) as source:
        for name in source.names:
            content.update(f"{name}\n{file_sha256(place / name)}\n".encode("utf-8", "surrogateescape"))
    return content.hexdigest()


def data_origin(path: PathLike | None, data_format: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a data set and the options of its reader as plain values, with digests in place of files.

    Args:
        path: The data set; None for synthetic data.
        data_format: Name of its format, or `auto`.
        options: Options by name. Those that name a file or folder count by its content.

    Raises:
        DataError: Nothing is at the path, or a folder cannot be read.
    """
    return {
        "data": None if path is None else source_digest(path),
        "format": data_format,
        "options": {name: _plain(value) for name, value in options.items()},
    }


def _plain(value: Any) -> str | None:
    if isinstance(value, str | os.PathLike) and os.path.exists(value):
        return source_digest(value)
    return None if value is None else str(value)


def store_origin(folder: Path, origin: Mapping[str, Any]) -> None:
    """Write `data.json`."""
    write_atomically(folder / ORIGIN, json.dumps(origin, indent=1, sort_keys=True).encode())


def stored_origin(folder: Path) -> dict[str, Any]:
    """Read `data.json`; empty if there is none, or it is damaged."""
    try:
        found = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def check_split(split: str, data_format: str, *, divided: bool) -> None:
    """Check that a data set can have a split, by its format alone.

    Args:
        split: Name of the split.
        data_format: Name of its format.
        divided: Whether a protocol gives the splits.

    Raises:
        DataError: It cannot.
    """
    possible: Iterable[str] = PARTS if divided else FORMATS[data_format].splits
    if possible and split not in possible:
        owner = "a protocol" if divided else f"the data format {data_format}"
        raise DataError(f"No split {split!r}: {owner} gives {', '.join(possible)}.")
