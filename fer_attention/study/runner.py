"""Carries out the runs of a study in local processes; what is done stays done, whatever happens."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

import torch

from fer_attention.device import resolve_device
from fer_attention.study.config import StudyConfig, StudyError
from fer_attention.study.datasets import DataSets
from fer_attention.study.estimate import cores, work_of, workers_for
from fer_attention.study.grid import RunSpec, expand
from fer_attention.study.progress import StudyProgress, Tracker
from fer_attention.study.records import read_record
from fer_attention.study.store import Store
from fer_attention.study.worker import Outcome, Workplace, serve
from fer_attention.training import Epoch

GRACE = 120.0
"""Seconds that workers have to save their checkpoints when a study is stopped."""


def run_study(
    study: StudyConfig,
    folder: Path,
    *,
    paths: Mapping[str, Path] | None = None,
    workers: int | None = None,
    device: torch.device | str = "auto",
    retry_failed: bool = False,
    runner: Literal["local", "ray"] = "local",
    address: str | None = None,
    on_progress: Callable[[StudyProgress], None] = lambda progress: None,
) -> StudyProgress:
    """Carry out what is missing of a study.

    Runs that are done are not done again, also not by a second runner in the same folder at the same time.
    A run that fails is noted with its reason and the others go on. Ctrl-C lets every running run save a
    checkpoint first; the same call goes on from there, as it does after a kill.

    Args:
        study: The study.
        folder: Of the study; made if it is not there.
        paths: Where the data sets lie, by name.
        workers: Runs at a time. By default as many as there are GPUs, or on a CPU as many as it has cores
            and its memory has room for: one thread each trains more images a second than many threads each.
        device: auto, cpu, cuda (all GPUs) or cuda:N.
        retry_failed: Whether to begin failed runs anew.
        runner: `local` processes, or `ray`, which spreads them over the machines of a cluster.
        address: Of the Ray cluster; by default one on this machine alone.
        on_progress: Called whenever something changes.

    Raises:
        StudyError: The study cannot be run; nothing was started.
        ValueError: There is no such device.
        ImportError: What it runs on is not installed.
    """
    if workers is not None and workers < 1:
        raise StudyError(f"workers is 1 or more, got {workers}.")
    resolved = resolve_device(device)
    data = DataSets(study, paths)
    runs = expand(study, data.all())
    work = {run.id: work_of(run, data[str(run.factors["data"])]) for run in runs}
    store = Store(folder)
    store.begin(study, runs)
    tracker = Tracker(runs, work, on_progress)
    todo = [run for run in runs if _is_open(run, store, data, tracker, retry_failed=retry_failed)]
    if not todo:
        return tracker.progress()
    count = min(workers or workers_for(todo, data.all(), resolved), len(todo))
    places = [
        Workplace(
            folder=folder.resolve(),
            study=study,
            paths={name: path.resolve() for name, path in (paths or {}).items()},
            device=_device(resolved, number),
            threads=max(1, cores() // count),
        )
        for number in range(count)
    ]
    if runner == "ray":
        from fer_attention.study.ray_runner import run_on_ray  # noqa: PLC0415  (optional)

        run_on_ray(todo, places, tracker, address=address)
    else:
        _Pool(places, tracker, store).run(todo)
    return tracker.progress()


def _is_open(run: RunSpec, store: Store, data: DataSets, tracker: Tracker, *, retry_failed: bool) -> bool:
    """Whether a run is still to be carried out; what became of it before is told to the tracker.

    Raises:
        StudyError: It was done on other images than those given.
    """
    with store.claim(run.id) as held:
        if held and (damage := store.set_aside_if_damaged(run.id)):
            tracker.note(f"{run.title}: {damage}. It is run again.")
        if held:
            store.sweep(run.id)
        state = store.state(run.id)
        if held and state == "failed" and retry_failed:
            store.retry(run.id)
            return True
    if state == "done":
        record, name = read_record(store.run_folder(run.id)), str(run.factors["data"])
        if record.data.fingerprint != data.fingerprint(name):
            raise StudyError(
                f"{store.folder} holds runs on other images of {name} than those given now, such as "
                f"{run.title}. Give the same data, or choose another folder."
            )
        tracker.done_before(run, record.validation.accuracy)
    elif state == "failed":
        tracker.failed_before(run, store.reason(run.id))
    return state == "open"


def _device(device: torch.device, number: int) -> str:
    if device.type != "cuda" or device.index is not None:
        return str(device)
    return f"cuda:{number % torch.cuda.device_count()}"


class _Worker:
    """A process that carries out one run after the other."""

    def __init__(self, place: Workplace) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of running torch threads may hang
        self.place = place
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, place))
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.run: RunSpec | None = None

    def send(self, message: RunSpec | None) -> None:
        with suppress(OSError):  # a process that has died is noticed when it is listened to
            self.connection.send(message)


class _Pool:
    """Workers, one for each place; one that dies costs its run only."""

    def __init__(self, places: Sequence[Workplace], tracker: Tracker, store: Store) -> None:
        self._places, self._tracker, self._store = places, tracker, store
        self._workers: list[_Worker] = []

    def run(self, todo: Sequence[RunSpec]) -> None:
        waiting = deque(todo)
        try:
            for place in self._places:
                self._workers.append(_Worker(place))
            for worker in list(self._workers):
                self._next(worker, waiting)
            while busy := {worker.connection: worker for worker in self._workers if worker.run is not None}:
                for connection in wait(list(busy)):
                    assert isinstance(connection, Connection)  # noqa: S101  (for the type checker)
                    self._hear(busy[connection], waiting)
            for worker in self._workers:
                worker.send(None)
        except BaseException:
            self._stop()
            raise
        for worker in self._workers:
            worker.process.join()

    def _next(self, worker: _Worker, waiting: deque[RunSpec]) -> None:
        worker.run = waiting.popleft() if waiting else None
        if worker.run is not None:
            worker.send(worker.run)
            self._tracker.started(worker.run)

    def _hear(self, worker: _Worker, waiting: deque[RunSpec]) -> None:
        assert worker.run is not None  # noqa: S101  (only busy workers are listened to)
        try:
            message: Any = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker, waiting)
            return
        if isinstance(message, Epoch):
            self._tracker.epoch(worker.run, message)
        else:
            self._tracker.ended(worker.run, message)
            self._next(worker, waiting)

    def _bury(self, worker: _Worker, waiting: deque[RunSpec]) -> None:
        """The process died: its run has failed, a new process takes its place."""
        assert worker.run is not None  # noqa: S101  (only busy workers are listened to)
        worker.process.join()
        reason = _death(worker.process.exitcode)
        with self._store.claim(worker.run.id) as held:
            done = self._store.state(worker.run.id) == "done"  # it died after its last deed
            if held and not done:
                self._store.fail(worker.run, reason, "")
        if done:
            accuracy = read_record(self._store.run_folder(worker.run.id)).validation.accuracy
            outcome = Outcome(worker.run.id, "done", accuracy=accuracy)
        else:
            outcome = Outcome(worker.run.id, "failed", note=reason)
        self._tracker.ended(worker.run, outcome)
        self._workers.remove(worker)
        if waiting:
            fresh = _Worker(worker.place)
            self._workers.append(fresh)
            self._next(fresh, waiting)

    def _stop(self) -> None:
        """Let every run save its checkpoint."""
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(GRACE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ": perhaps the memory did not suffice; fewer workers take less" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with exit code {code}"
