"""A study on the disk: one folder for each run, claimed by one runner at a time.

DIR/study.json          the study and its runs
DIR/runs/<id>/          record.json and predictions.npz, or failure.json, or a checkpoint in training/
DIR/locks/<id>.lock     held by the process that carries a run out; a killed one's is free
DIR/set_aside/          run folders whose files were damaged
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
from fer_attention.study.config import Level, StudyConfig, StudyError
from fer_attention.study.grid import RunSpec
from fer_attention.study.records import FAILURE, RECORD, TRAINING, Failure, read_record

State = Literal["done", "failed", "open"]


class PlannedRun(BaseModel, frozen=True, extra="forbid"):
    """A run as `study.json` lists it."""

    id: str
    title: str
    factors: dict[str, Level]
    seed: int
    fold: int


class Manifest(BaseModel, frozen=True, extra="forbid"):
    """What `study.json` holds."""

    study: StudyConfig
    runs: tuple[PlannedRun, ...]


@dataclass(frozen=True)
class Store:
    """The folder of a study."""

    folder: Path

    def run_folder(self, run_id: str) -> Path:
        """Where a run's files are."""
        return self.folder / "runs" / run_id

    def begin(self, study: StudyConfig, runs: Sequence[RunSpec]) -> None:
        """Note the study and its runs; runs that the folder holds already count as done.

        Raises:
            StudyError: The folder cannot be made or written.
        """
        planned = [PlannedRun.model_validate(run, from_attributes=True) for run in runs]
        manifest = Manifest(study=study, runs=tuple(planned))
        try:
            for name in ("runs", "locks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / "study.json", manifest.model_dump_json(indent=1).encode())
        except OSError as error:
            raise StudyError(f"Cannot write into {self.folder}: {error}.") from error

    def manifest(self) -> Manifest:
        """Read the study that the folder holds.

        Raises:
            StudyError: There is none, or its file is damaged.
        """
        path = self.folder / "study.json"
        if not path.is_file():
            raise StudyError(f"{self.folder} holds no study: there is no study.json in it.")
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise StudyError(f"{path} is damaged: {error.errors()[0]['msg']}") from error

    def state(self, run_id: str) -> State:
        """Whether a run is finished, has failed, or is still to be carried out."""
        folder = self.run_folder(run_id)
        if (folder / RECORD).exists():
            return "done"
        return "failed" if (folder / FAILURE).exists() else "open"

    @contextmanager
    def claim(self, run_id: str) -> Iterator[bool]:
        """True inside where this process alone holds the run; false where another one does."""
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
        """Clean up after a kill: half-written files, a finished run's checkpoint, a damaged record.

        To be called with the run claimed. A folder whose record or predictions are damaged is moved to
        `set_aside`, so that the run is open again.

        Returns:
            What was damaged and where its files are now; None if nothing was.
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
            return f"{error}; its files are in {moved}"
        shutil.rmtree(folder / TRAINING, ignore_errors=True)
        return None

    def fail(self, run: RunSpec, reason: str, details: str = "") -> None:
        """Note why a run failed; its checkpoint stays."""
        folder = self.run_folder(run.id)
        folder.mkdir(parents=True, exist_ok=True)
        failure = Failure(title=run.title, reason=reason, details=details)
        write_atomically(folder / FAILURE, failure.model_dump_json(indent=1).encode())

    def retry(self, run_id: str) -> None:
        """Forget a failure, and the training that failed."""
        folder = self.run_folder(run_id)
        (folder / FAILURE).unlink(missing_ok=True)
        shutil.rmtree(folder / TRAINING, ignore_errors=True)
