"""How far a study is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fer_attention.study.grid import RunSpec
from fer_attention.study.worker import Outcome
from fer_attention.training import Epoch


@dataclass(frozen=True)
class Running:
    """A run that is going on, with its last finished epoch."""

    title: str
    epoch: int
    epochs: int
    accuracy: float | None


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is.

    Attributes:
        total: Runs in all.
        done: Finished ones, those of earlier calls with them.
        failed: (title, reason) of those that failed.
        elsewhere: Titles of those that another runner carries out or finished meanwhile.
        running: What goes on.
        notes: What else is to be known, such as files that were set aside.
        seconds: Since this call began.
        seconds_left: Estimated from the runs that finished in this call; None before the first.
        best: Title and validation accuracy of the best finished run.
    """

    total: int
    done: int
    failed: tuple[tuple[str, str], ...]
    elsewhere: tuple[str, ...]
    running: tuple[Running, ...]
    notes: tuple[str, ...]
    seconds: float
    seconds_left: float | None
    best: tuple[str, float] | None


class Tracker:
    """Gathers what happens to runs and tells it on.

    Args:
        runs: All runs of the study.
        work: What each takes, in whatever unit, by run id.
        on_progress: Called after every change.
    """

    def __init__(
        self, runs: Sequence[RunSpec], work: Mapping[str, float], on_progress: Callable[[StudyProgress], None]
    ) -> None:
        self._runs = {run.id: run for run in runs}
        self._work = work
        self._tell = on_progress
        self._left = dict(work)
        self._done = 0
        self._failed: list[tuple[str, str]] = []
        self._elsewhere: list[str] = []
        self._running: dict[str, Running] = {}
        self._notes: list[str] = []
        self._finished_work = 0.0
        self._began = time.monotonic()
        self._best: tuple[str, float] | None = None

    def done_before(self, run: RunSpec, accuracy: float) -> None:
        """A run that lay there already."""
        self._left.pop(run.id, None)
        self._count(run, accuracy)

    def failed_before(self, run: RunSpec, reason: str) -> None:
        """A run that failed in an earlier call and is not tried again."""
        self._left.pop(run.id, None)
        self._failed.append((run.title, reason))

    def note(self, text: str) -> None:
        """Something to be known."""
        self._notes.append(text)

    def started(self, run: RunSpec) -> None:
        """A run was handed out."""
        self._running[run.id] = Running(run.title, 0, run.config.epochs, None)
        self._tell(self.progress())

    def epoch(self, run: RunSpec, epoch: Epoch) -> None:
        """A run finished an epoch."""
        self._running[run.id] = Running(run.title, epoch.epoch, run.config.epochs, epoch.validation_accuracy)
        self._tell(self.progress())

    def ended(self, run: RunSpec, outcome: Outcome) -> None:
        """A run is done, failed, or another runner's."""
        self._running.pop(run.id, None)
        work = self._left.pop(run.id, 0.0)
        if outcome.state == "taken":
            self._elsewhere.append(run.title)
        elif outcome.state == "failed":
            self._failed.append((run.title, outcome.note or "unknown"))
        else:
            self._finished_work += work
            self._count(run, outcome.accuracy or 0.0)
        self._tell(self.progress())

    def _count(self, run: RunSpec, accuracy: float) -> None:
        self._done += 1
        if self._best is None or accuracy > self._best[1]:
            self._best = (run.title, accuracy)

    def progress(self) -> StudyProgress:
        """The state of things."""
        seconds = time.monotonic() - self._began
        rate = self._finished_work / seconds if seconds else 0.0
        return StudyProgress(
            total=len(self._runs),
            done=self._done,
            failed=tuple(self._failed),
            elsewhere=tuple(self._elsewhere),
            running=tuple(self._running.values()),
            notes=tuple(self._notes),
            seconds=seconds,
            seconds_left=sum(self._left.values()) / rate if rate else None,
            best=self._best,
        )
