"""What a run has done so far, in a file that a kill at any moment leaves readable."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fer_attention.atomic import write_atomically
from fer_attention.faces.folders.manifest import ManifestRow

NAME = ".faces.jsonl"


@dataclass(frozen=True)
class Stamp:
    """A source file as it was read: path below the source folder, bytes, nanoseconds of its last change."""

    name: str
    size: int
    changed: int


class Journal:
    """One line of JSON for the options, then one for each chunk of photos that is done.

    A chunk's line is written after its crops. A half-written last line, as a kill may leave it, is dropped.

    Args:
        folder: The output folder.
        options: `FolderOptions.record()` of this run.

    Raises:
        ValueError: The folder holds a run under other options, or files that no run has made.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.path = folder / NAME
        self.done: dict[tuple[Stamp, ...], list[ManifestRow]] = {}
        lines = _whole_lines(self.path)
        if not lines:
            if present := sorted(path.name for path in folder.iterdir() if path.name != NAME):
                raise ValueError(
                    f"The output folder {folder} holds {present[0]} and no run of faces to go on with. "
                    "Choose a new folder."
                )
            lines = [_header(options)]
        if len(lines) == 1:  # nothing is done yet: any options will do
            lines = [_header(options)]
        self._check(folder, json.loads(lines[0])["options"], json.loads(json.dumps(options)))
        for line in lines[1:]:
            entry = json.loads(line)
            stamps = tuple(Stamp(*stamp) for stamp in entry["files"])
            self.done[stamps] = [ManifestRow(**row) for row in entry["rows"]]
        if self.path.exists():
            _remove_half_written(folder)
        whole = "".join(f"{line}\n" for line in lines).encode()
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self._file.write(whole)
        self._file.truncate()
        self._flush()

    @staticmethod
    def _check(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            facts = ", ".join(f"{name} was {before.get(name)!r} and is {now[name]!r}" for name in changed)
            raise ValueError(
                f"The crops in {folder} were made with other options: {facts}. Choose a new folder, take the "
                "same options to go on, or start over (restart=True, --restart)."
            )

    def add(self, stamps: tuple[Stamp, ...], rows: list[ManifestRow]) -> None:
        """A chunk is done and its crops are written."""
        files = [[stamp.name, stamp.size, stamp.changed] for stamp in stamps]
        slim = [{key: value for key, value in asdict(row).items() if value is not None} for row in rows]
        self._file.write(json.dumps({"files": files, "rows": slim}).encode() + b"\n")
        self._flush()
        self.done[stamps] = rows

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _whole_lines(path: Path) -> list[str]:
    """The lines of a journal that were written to their end; none if it is absent."""
    if not path.exists():
        return []
    return path.read_bytes().rpartition(b"\n")[0].decode().splitlines()


def _remove_half_written(folder: Path) -> None:
    """What a kill in the middle of `write_atomically` leaves of a crop."""
    for path in folder.rglob(".*.png.*.png"):
        path.unlink(missing_ok=True)


def forget_run(folder: Path, options: dict[str, Any]) -> None:
    """Remove the crops and manifest of an earlier run, and nothing else; its journal starts anew.

    Args:
        folder: The output folder.
        options: `FolderOptions.record()` of the run to come.
    """
    lines = _whole_lines(folder / NAME)
    for line in lines[1:]:
        for row in json.loads(line)["rows"]:
            if row.get("crop"):
                (folder / row["crop"]).unlink(missing_ok=True)
    if lines:
        for name in ("manifest.csv", "manifest.parquet"):
            (folder / name).unlink(missing_ok=True)
        write_atomically(folder / NAME, _header(options).encode() + b"\n")


def _header(options: dict[str, Any]) -> str:
    return json.dumps({"options": options})
