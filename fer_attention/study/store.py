"""Folder of a study: one folder for each run, claimed by one process at a time.

DIR/study.json          the study and its runs
DIR/data.json           digests of the data files that its runs were checked against
DIR/runs/<id>/          record.json and predictions.npz, or failure.json, or a checkpoint in training/
DIR/locks/<id>.lock     held by the process that executes the run; released when the process dies
DIR/set_aside/          run folders with damaged files
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from fer_attention.atomic import write_atomically
from fer_attention.os_errors import reason_of
from fer_attention.study.config import Level, StudyConfig, StudyError
from fer_attention.study.grid import RunSpec
from fer_attention.study.records import FAILURE, RECORD, TRAINING, Failure, read_record

State = Literal["done", "failed", "open"]


class PlannedRun(BaseModel, frozen=True, extra="forbid"):
    """Run as listed in `study.json`."""

    id: str
    title: str
    factors: dict[str, Level]
    seed: int
    fold: int


class Manifest(BaseModel, frozen=True, extra="forbid"):
    """Content of `study.json`."""

    study: StudyConfig
    runs: tuple[PlannedRun, ...]


@dataclass(frozen=True)
class Store:
    """The folder of a study."""

    folder: Path

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self.folder / "runs" / run_id

    def begin(self, study: StudyConfig, runs: Sequence[RunSpec]) -> None:
        """Write `study.json`; runs that are already in the folder count as done.

        Raises:
            StudyError: The folder cannot be created or written.
        """
        planned = [PlannedRun.model_validate(run, from_attributes=True) for run in runs]
        manifest = Manifest(study=study, runs=tuple(planned))
        try:
            for name in ("runs", "locks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / "study.json", manifest.model_dump_json(indent=1).encode())
        except OSError as error:
            raise StudyError(f"Cannot write into {self.folder}: {reason_of(error)}.") from error

    def manifest(self) -> Manifest:
        """Read `study.json`.

        Raises:
            StudyError: The file is missing or damaged.
        """
        path = self.folder / "study.json"
        if not path.is_file():
            raise StudyError(f"{self.folder} is not the folder of a study: it has no study.json.")
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise StudyError(f"{path} is damaged: {error.errors()[0]['msg']}") from error

    def state(self, run_id: str) -> State:
        """Return the state of a run: done, failed or open."""
        folder = self.run_folder(run_id)
        if (folder / RECORD).exists():
            return "done"
        return "failed" if (folder / FAILURE).exists() else "open"

    @contextmanager
    def claim(self, run_id: str) -> Iterator[bool]:
        """Claim a run: yield true if this process holds it now, false if another process does."""
        lock = FileLock(self.folder / "locks" / f"{run_id}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def tidy(self, run_id: str) -> str | None:
        """Clean up after a kill: partial files, the checkpoint of a finished run, a damaged record.

        The run must be claimed. A folder with damaged files is moved to `set_aside`, so that its run is open
        again.

        Returns:
            Description of the damage and the new location of the files; None if nothing is damaged.
        """
        folder = self.run_folder(run_id)
        for leftover in folder.glob(".*"):
            leftover.unlink(missing_ok=True)
        if self.state(run_id) != "done":
            return None
        try:
            read_record(folder)
        except ValueError as error:
            numbered = (self.folder / "set_aside" / f"{run_id}.{number}" for number in itertools.count(1))
            moved = next(path for path in numbered if not path.exists())
            moved.parent.mkdir(exist_ok=True)
            folder.rename(moved)
            return f"{error}; its files were moved to {moved}"
        shutil.rmtree(folder / TRAINING, ignore_errors=True)
        return None

    def fail(self, run: RunSpec, reason: str, details: str = "") -> None:
        """Record why a run failed; its checkpoint is kept."""
        folder = self.run_folder(run.id)
        folder.mkdir(parents=True, exist_ok=True)
        failure = Failure(title=run.title, reason=reason, details=details)
        write_atomically(folder / FAILURE, failure.model_dump_json(indent=1).encode())

    def retry(self, run_id: str) -> None:
        """Delete the record of a failure and the failed training."""
        folder = self.run_folder(run_id)
        (folder / FAILURE).unlink(missing_ok=True)
        shutil.rmtree(folder / TRAINING, ignore_errors=True)
