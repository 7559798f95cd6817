"""Progress of a run over a folder, in a file that stays readable if the run is killed."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from fer_attention.atomic import leftovers
from fer_attention.faces.folders.manifest import MANIFESTS, ManifestRow
from fer_attention.journal import JournalFile, inside

NAME = ".faces.jsonl"


@dataclass(frozen=True)
class Stamp:
    """Identity of a source file: path below the source folder, bytes, time of the last change in ns."""

    name: str
    size: int
    changed: int


class Journal:
    """The options of a run, and the rows of each finished chunk of photos, added after its crops.

    Args:
        folder: The output folder; it exists.
        options: `FolderOptions.record()` of this run.
        restart: Whether to remove crops and manifest of an earlier run first, and nothing else.

    Raises:
        ValueError: The folder contains files that are not from a run, or a run with other options, another
            run is writing to it, or its journal is damaged.
    """

    def __init__(self, folder: Path, options: dict[str, Any], *, restart: bool = False) -> None:
        self.folder = folder
        self.done: dict[tuple[Stamp, ...], list[ManifestRow]] = {}
        foreign = sorted(path.name for path in folder.iterdir() if not path.name.startswith(NAME))
        if foreign and not (folder / NAME).exists():  # a run that has just started writes its journal first
            raise self._no_run(foreign)
        self._file = JournalFile(folder / NAME)
        try:
            if foreign and not self._file.entries:
                raise self._no_run(foreign)
            self._resume(json.loads(json.dumps(options)), restart=restart)
        except BaseException:
            self._file.close()
            raise

    def _resume(self, options: dict[str, Any], *, restart: bool) -> None:
        try:
            before = dict(self._file.entries[0]["options"]) if self._file.entries else {}
            for entry in self._file.entries[1:]:
                stamps = tuple(Stamp(*stamp) for stamp in entry["files"])
                self.done[stamps] = [ManifestRow(**row) for row in entry["rows"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self._file.path} is damaged: {error!r}. Choose a new folder.") from error
        crops = [
            inside(self.folder, str(row.crop)) for rows in self.done.values() for row in rows if row.crop
        ]
        for suffix in (".png", *(Path(name).suffix for name in MANIFESTS)):
            for half_written in leftovers(self.folder, suffix):
                half_written.unlink(missing_ok=True)
        if restart and self._file.entries:
            for path in (*crops, *(self.folder / name for name in MANIFESTS)):
                path.unlink(missing_ok=True)
            self.done.clear()
        if not self.done:  # then any options are fine
            if restart or before != options:
                self._file.reset({"options": options})
        elif changed := [name for name in options if before.get(name) != options[name]]:
            facts = ", ".join(f"{name} was {before.get(name)!r} and is {options[name]!r}" for name in changed)
            raise ValueError(
                f"The crops in {self.folder} were made with other options: {facts}. Choose a new folder, "
                "resume with the same options, or start over (restart=True, --restart)."
            )

    def _no_run(self, foreign: list[str]) -> ValueError:
        return ValueError(
            f"The output folder {self.folder} contains {foreign[0]} and no earlier run to resume. "
            "Choose a new folder."
        )

    def add(self, stamps: tuple[Stamp, ...], rows: list[ManifestRow]) -> None:
        """Record a chunk whose crops are written."""
        files = list(map(astuple, stamps))
        slim = [{key: value for key, value in asdict(row).items() if value is not None} for row in rows]
        self._file.append({"files": files, "rows": slim})
        self.done[stamps] = rows

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
