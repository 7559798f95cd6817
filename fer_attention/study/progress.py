"""How far a study is, by what is in its folder."""

from __future__ import annotations

import csv
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fer_attention.study.grid import RunSpec
from fer_attention.study.records import TRAINING, read_failure
from fer_attention.study.store import Store


@dataclass(frozen=True)
class Running:
    """A run that is training, its finished epochs of all, and the last one's validation accuracy."""

    title: str
    epoch: int
    epochs: int
    accuracy: float | None


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is.

    Attributes:
        total: Runs in all.
        done: Finished ones, those of earlier calls included.
        failed: (title, reason) of those that failed.
        elsewhere: Titles of those that another runner holds.
        running: What is training in this call.
        notes: Warnings, such as files that were set aside.
        seconds_left: Estimated from the epochs trained in this call; None before the first.
    """

    total: int
    done: int
    failed: tuple[tuple[str, str], ...]
    elsewhere: tuple[str, ...]
    running: tuple[Running, ...]
    notes: tuple[str, ...]
    seconds_left: float | None


class Tracker:
    """Follows runs in the folder of a study; `work` is what each takes, in any unit, by run id.

    Attributes:
        elsewhere: Runs that another runner held.
        notes: Warnings.
    """

    def __init__(self, store: Store, runs: Sequence[RunSpec], work: Mapping[str, float]) -> None:
        self._store, self._runs, self._work = store, runs, work
        self.elsewhere: list[RunSpec] = []
        self.notes: list[str] = []
        self._began = time.monotonic()
        self._before, _ = self._done_and_left()

    def progress(self, running: Collection[RunSpec] = ()) -> StudyProgress:
        """How far the study is now, while this call carries these runs out."""
        state = {run.id: self._store.state(run.id) for run in self._runs}
        done, left = self._done_and_left()
        rate = (done - self._before) / max(time.monotonic() - self._began, 1e-9)
        return StudyProgress(
            total=len(self._runs),
            done=sum(one == "done" for one in state.values()),
            failed=tuple(
                (run.title, read_failure(self._store.run_folder(run.id)))
                for run in self._runs
                if state[run.id] == "failed"
            ),
            elsewhere=tuple(run.title for run in self.elsewhere if state[run.id] == "open"),
            running=tuple(found for run in running if (found := self._running(run)) is not None),
            notes=tuple(self.notes),
            seconds_left=left / rate if rate > 0 else None,
        )

    def _done_and_left(self) -> tuple[float, float]:
        """Work that is done, and work that is left in open runs."""
        done = left = 0.0
        for run in self._runs:
            if (state := self._store.state(run.id)) != "failed":
                running, work = self._running(run), self._work[run.id]
                share = 1.0 if state == "done" else running.epoch / running.epochs if running else 0.0
                done, left = done + work * share, left + work * (1 - share)
        return done, left

    def _running(self, run: RunSpec) -> Running | None:
        """The last epoch of a run that has begun training."""
        folder = self._store.run_folder(run.id) / TRAINING
        try:
            *_, last = csv.DictReader((folder / "history.csv").read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError):  # no epoch is finished
            return Running(run.title, 0, run.config.epochs, None) if folder.exists() else None
        return Running(run.title, int(last["epoch"]), run.config.epochs, float(last["validation_accuracy"]))
