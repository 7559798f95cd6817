"""Progress of a study, read from its folder."""

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
    """Run in training: finished and planned epochs, and validation accuracy of the last epoch."""

    title: str
    epoch: int
    epochs: int
    accuracy: float | None


@dataclass(frozen=True)
class StudyProgress:
    """Progress of a study.

    >>> progress = StudyProgress(40, 12, (), (), (), (), seconds_left=5400.0)
    >>> f"{progress.done} of {progress.total} runs, {progress.seconds_left / 3600:.1f} h left"
    '12 of 40 runs, 1.5 h left'

    Attributes:
        total: Number of planned runs.
        done: Number of finished runs, including those of earlier calls.
        failed: (title, reason) of each failed run.
        elsewhere: Titles of runs that another process holds.
        running: Runs that are training in this call.
        notes: Warnings, such as damaged files that were set aside.
        seconds_left: Estimate from the epochs trained in this call; None before the first.
    """

    total: int
    done: int
    failed: tuple[tuple[str, str], ...]
    elsewhere: tuple[str, ...]
    running: tuple[Running, ...]
    notes: tuple[str, ...]
    seconds_left: float | None


class Tracker:
    """Observer of the runs in the folder of a study; `work` is the amount of work by run id, in any unit.

    Attributes:
        elsewhere: Runs that another process held.
        notes: Warnings.
    """

    def __init__(self, store: Store, runs: Sequence[RunSpec], work: Mapping[str, float]) -> None:
        self._store, self._runs, self._work = store, runs, work
        self.elsewhere: list[RunSpec] = []
        self.notes: list[str] = []
        self._began = time.monotonic()
        self._before, _ = self._done_and_left()

    def progress(self, running: Collection[RunSpec] = ()) -> StudyProgress:
        """Return the current progress, with these runs in training."""
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
        """Return the work that is done, and the work that is left in open runs."""
        done = left = 0.0
        for run in self._runs:
            if (state := self._store.state(run.id)) != "failed":
                running, work = self._running(run), self._work[run.id]
                share = 1.0 if state == "done" else running.epoch / running.epochs if running else 0.0
                done, left = done + work * share, left + work * (1 - share)
        return done, left

    def _running(self, run: RunSpec) -> Running | None:
        """Return the last epoch of a run that has started training."""
        folder = self._store.run_folder(run.id) / TRAINING
        try:
            *_, last = csv.DictReader((folder / "history.csv").read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError):  # no finished epoch
            return Running(run.title, 0, run.config.epochs, None) if folder.exists() else None
        return Running(run.title, int(last["epoch"]), run.config.epochs, float(last["validation_accuracy"]))
