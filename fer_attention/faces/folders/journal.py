"""Progress of a run over a folder, in a file that stays readable if the run is killed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from fer_attention.atomic import write_atomically
from fer_attention.faces.folders.manifest import ManifestRow

NAME = ".faces.jsonl"


@dataclass(frozen=True)
class Stamp:
    """Identity of a source file: path below the source folder, bytes, time of the last change in ns."""

    name: str
    size: int
    changed: int


class Journal:
    """One line of JSON for the options, then one for each finished chunk of photos.

    A chunk's line is written after its crops. A half-written last line, which a kill may leave, is dropped.

    Args:
        folder: The output folder.
        options: `FolderOptions.record()` of this run.

    Raises:
        ValueError: The folder contains a run with other options, or files that are not from a run.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.path = folder / NAME
        self.done: dict[tuple[Stamp, ...], list[ManifestRow]] = {}
        lines = _complete_lines(self.path)
        present = sorted(path.name for path in folder.iterdir() if path.name != NAME)
        if present and not lines:
            raise ValueError(
                f"The output folder {folder} contains {present[0]} and no earlier run to resume. "
                "Choose a new folder."
            )
        if len(lines) <= 1:  # nothing is done yet, so any options are fine
            lines = [_header(options)]
        before, now = json.loads(lines[0])["options"], json.loads(json.dumps(options))
        if changed := [name for name in now if before.get(name) != now[name]]:
            facts = ", ".join(f"{name} was {before.get(name)!r} and is {now[name]!r}" for name in changed)
            raise ValueError(
                f"The crops in {folder} were made with other options: {facts}. Choose a new folder, resume "
                "with the same options, or start over (restart=True, --restart)."
            )
        for entry in map(json.loads, lines[1:]):
            stamps = tuple(Stamp(*stamp) for stamp in entry["files"])
            self.done[stamps] = [ManifestRow(**row) for row in entry["rows"]]
        if self.path.exists():
            for half_written in folder.rglob(".*.png.*.png"):  # left by a kill within `replacing`
                half_written.unlink(missing_ok=True)
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.truncate()
        self._flush()

    def add(self, stamps: tuple[Stamp, ...], rows: list[ManifestRow]) -> None:
        """Record a chunk whose crops are written."""
        files = list(map(astuple, stamps))
        slim = [{key: value for key, value in asdict(row).items() if value is not None} for row in rows]
        self._file.write(json.dumps({"files": files, "rows": slim}).encode() + b"\n")
        self._flush()
        self.done[stamps] = rows

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _complete_lines(path: Path) -> list[str]:
    """Read the complete lines of a journal; none if it does not exist."""
    content = path.read_bytes() if path.exists() else b""
    return content.rpartition(b"\n")[0].decode().splitlines()


def remove_run(folder: Path, options: dict[str, Any]) -> None:
    """Remove crops and manifest of an earlier run, nothing else, and reset its journal to `options`."""
    if lines := _complete_lines(folder / NAME):
        crops = [row["crop"] for line in lines[1:] for row in json.loads(line)["rows"] if row.get("crop")]
        for name in (*crops, "manifest.csv", "manifest.parquet"):
            (folder / name).unlink(missing_ok=True)
        write_atomically(folder / NAME, _header(options).encode() + b"\n")


def _header(options: dict[str, Any]) -> str:
    return json.dumps({"options": options})
