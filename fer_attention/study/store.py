"""A study on the disk: one folder for each run, claimed by one runner at a time.

DIR/study.json          the study and its runs
DIR/runs/<id>/          record.json and predictions.npz, or failure.json, or a checkpoint in training/
DIR/locks/<id>.lock     held by the process that carries a run out; a killed one's is free
DIR/set_aside/          run folders whose files turned out damaged
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from fer_attention.atomic import write_atomically
from fer_attention.study.config import Level, StudyConfig, StudyError
from fer_attention.study.grid import RunSpec
from fer_attention.study.records import FAILURE, RECORD, read_failure, read_record

State = Literal["done", "failed", "open"]


class PlannedRun(BaseModel):
    """A run as the study's file lists it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    factors: dict[str, Level]
    seed: int
    fold: int


class Manifest(BaseModel):
    """What `study.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """Note the study and its runs; runs that lie there already and are the same count as done.

        Raises:
            StudyError: The folder cannot be made or written.
        """
        planned = tuple(
            PlannedRun(id=run.id, title=run.title, factors=dict(run.factors), seed=run.seed, fold=run.fold)
            for run in runs
        )
        manifest = Manifest(study=study, runs=planned)
        try:
            for name in ("runs", "locks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / "study.json", manifest.model_dump_json(indent=1).encode())
        except OSError as error:
            raise StudyError(f"Cannot write into {self.folder}: {error}.") from error

    def manifest(self) -> Manifest:
        """The study that the folder holds.

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

    def set_aside_if_damaged(self, run_id: str) -> str | None:
        """Move a run folder whose record or predictions are damaged out of the way; the reason, or None.

        To be called with the run claimed.
        """
        folder = self.run_folder(run_id)
        if not (folder / RECORD).exists():
            return None
        try:
            read_record(folder)
        except ValueError as error:
            number = 1
            while (place := self.folder / "set_aside" / f"{run_id}.{number}").exists():
                number += 1
            place.parent.mkdir(exist_ok=True)
            folder.rename(place)
            return f"{error}; its files are in {place}"
        return None

    def sweep(self, run_id: str) -> None:
        """Remove what a kill left: half-written files and, of a finished run, its checkpoint.

        To be called with the run claimed.
        """
        folder = self.run_folder(run_id)
        for leftover in folder.glob(".*"):
            leftover.unlink(missing_ok=True)
        if self.state(run_id) == "done":
            shutil.rmtree(folder / "training", ignore_errors=True)

    def fail(self, run: RunSpec, reason: str, details: str) -> None:
        """Note why a run failed; what it saved stays, so that it may go on."""
        folder = self.run_folder(run.id)
        folder.mkdir(parents=True, exist_ok=True)
        record: dict[str, Any] = {
            "id": run.id,
            "title": run.title,
            "factors": dict(run.factors),
            "reason": reason,
            "details": details,
        }
        write_atomically(folder / FAILURE, json.dumps(record, indent=1).encode())

    def reason(self, run_id: str) -> str:
        """Why a run failed."""
        return read_failure(self.run_folder(run_id))

    def retry(self, run_id: str) -> None:
        """Forget a failure, and the training that failed."""
        folder = self.run_folder(run_id)
        (folder / FAILURE).unlink(missing_ok=True)
        shutil.rmtree(folder / "training", ignore_errors=True)
