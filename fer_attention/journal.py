"""Journals of long runs: one line of JSON for each finished step, readable after a kill at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fer_attention.atomic import errors_with_name


class JournalFile:
    """A file of JSON lines that one process at a time appends to.

    A half-written last line, which a kill may leave, is dropped. Lines are flushed to the disk.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with JournalFile(Path(folder, ".run.jsonl")) as journal:
    ...         journal.append({"done": 1})
    ...     JournalFile(Path(folder, ".run.jsonl")).entries
    [{'done': 1}]

    Attributes:
        path: The file.
        entries: Its lines, in order, as they were when it was opened.

    Args:
        path: The file; its folder exists.

    Raises:
        ValueError: Another run has the journal open, or a line of the file is not valid JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(
                f"Another run is writing to {path.parent}. Wait until it ends, or choose another folder."
            ) from error
        try:
            content = path.read_bytes() if path.exists() else b""
            lines = content.split(b"\n")[:-1]
            self.entries: list[dict[str, Any]] = [self._parsed(line) for line in lines]
            self._file = path.open("ab")
            self._file.truncate(sum(len(line) + 1 for line in lines))
        except BaseException:
            self._lock.release()
            raise

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{self.path} is damaged: a line is not valid JSON. Choose a new folder."
            ) from error
        if not isinstance(entry, dict):
            raise ValueError(f"{self.path} is damaged: a line is not an object. Choose a new folder.")
        return entry

    def append(self, entry: dict[str, Any]) -> None:
        """Append a line and flush it to the disk."""
        with errors_with_name(self.path):
            self._file.write(_line(entry))
            self._file.flush()
            os.fsync(self._file.fileno())

    def reset(self, *entries: dict[str, Any]) -> None:
        """Replace all lines; a kill leaves the lines before or these."""
        fresh = self.path.with_name(f"{self.path.name}.new")
        with fresh.open("wb") as file:
            file.write(b"".join(map(_line, entries)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)
        self._file.close()
        self._file = self.path.open("ab")

    def close(self) -> None:
        """Close the file and let other runs in."""
        try:
            with errors_with_name(self.path):
                self._file.close()  # writes what a full disk has refused before
        finally:
            self._lock.release()

    def __enter__(self) -> JournalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder.

    >>> inside(Path("/out"), "a/b.png").as_posix()
    '/out/a/b.png'

    Raises:
        ValueError: The name leads out of the folder.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} leads out of the folder {folder}. Choose a new folder.")
    return path
