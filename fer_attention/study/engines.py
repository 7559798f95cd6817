"""What carries runs out: processes of this machine, or Ray. Both are an `Engine`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import torch

from fer_attention.optional import needs_extra
from fer_attention.study.datasets import DataSets
from fer_attention.study.execute import execute
from fer_attention.study.grid import RunSpec
from fer_attention.study.store import Store

GRACE = 120.0  # seconds that running runs have to save their checkpoints when a study is stopped


@dataclass(frozen=True)
class Workplace:
    """What a process needs to carry out runs: the study's folder, its data's paths, a device, CPU threads."""

    folder: Path
    paths: dict[str, Path]
    device: str
    threads: int


_data: dict[Path, DataSets] = {}  # of this process, which carries out many runs of a study


def work(run: RunSpec, place: Workplace) -> None:
    """Carry out one run unless it is done, has failed or is held by another process.

    It leaves a record in the study's folder, or a failure with its reason: errors are noted, not raised.
    """
    torch.set_num_threads(place.threads)
    data = _data.setdefault(place.folder, DataSets(run.study, place.paths))
    store = Store(place.folder)
    with store.claim(run.id) as held:
        if held and store.state(run.id) == "open":
            try:
                execute(run, data[run.data_name], store.run_folder(run.id), device=place.device)
            except Exception as error:
                store.fail(run, f"{type(error).__name__}: {error}", traceback.format_exc())


class Engine(Protocol):
    """Carries runs out with `work`, at most `room` at a time."""

    room: int

    def submit(self, run: RunSpec) -> Future[None]:
        """Begin a run; to be called with room for it. The future raises where the run's process died."""

    def cause(self, ended: Future[None]) -> str:
        """Why the process of a future died."""

    def close(self) -> None:
        """Let running runs save their checkpoints, and end all processes."""


class LocalEngine:
    """Processes of this machine, one for each workplace.

    Each is a pool of its own, so that one that dies costs no other run anything.
    """

    def __init__(self, places: Sequence[Workplace]) -> None:
        self.room = len(places)
        self._workers = [_Worker(place) for place in places]

    def submit(self, run: RunSpec) -> Future[None]:
        """Begin a run in a free process."""
        return next(worker for worker in self._workers if worker.is_free()).submit(run)

    def cause(self, ended: Future[None]) -> str:
        """The signal or exit code of the process."""
        return next(worker for worker in self._workers if worker.future is ended).cause()

    def close(self) -> None:
        """End all processes; those that train save first."""
        started = [worker for worker in self._workers if worker.future is not None]
        for worker in started:
            worker.process.terminate()
        for worker in started:
            worker.process.join(GRACE)
            worker.process.kill()
            worker.pool.shutdown()


class _Worker:
    """A process of a workplace, begun anew where it died."""

    pool: ProcessPoolExecutor
    process: BaseProcess
    future: Future[None] | None = None

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def is_free(self) -> bool:
        return self.future is None or self.future.done()

    def submit(self, run: RunSpec) -> Future[None]:
        if self.future is None or not self.process.is_alive():
            self._start()
        self.future = self.pool.submit(_work, run, self._place)
        return self.future

    def _start(self) -> None:
        before = set(multiprocessing.active_children())
        # The process inherits the mask: Ctrl-C reaches all processes of a terminal, but ends this one only.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            spawn = multiprocessing.get_context("spawn")  # a fork of running torch threads may hang
            self.pool = ProcessPoolExecutor(1, mp_context=spawn)
            self.future = self.pool.submit(_watch_parent)
            (self.process,) = set(multiprocessing.active_children()) - before
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def cause(self) -> str:
        error = self.future.exception() if self.future is not None else None
        if not isinstance(error, BrokenProcessPool):
            return f"{type(error).__name__}: {error}"
        self.pool.shutdown()  # waits for the exit code
        code = self.process.exitcode or 0
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        hint = ": perhaps out of memory; fewer workers need less" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"


def _watch_parent() -> None:
    """A killed parent leaves no orphan: the run saves its checkpoint and ends."""

    def end_with_parent() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _work(run: RunSpec, place: Workplace) -> None:
    try:
        work(run, place)
    except (KeyboardInterrupt, SystemExit):  # the training has saved; the pool would take it for an answer
        os._exit(128 + signal.SIGTERM)


class RayEngine:
    """A Ray cluster whose machines share the study's folder and the data's paths.

    Args:
        places: As for local processes; the first one's threads and kind of device are what a run asks for.
        address: Of a running cluster (`auto` finds this machine's); None starts one with as many CPUs as
            the places ask for, and stops it in the end.

    Raises:
        ImportError: Ray is not installed.
    """

    def __init__(self, places: Sequence[Workplace], address: str | None) -> None:
        with needs_extra("ray", "The engine ray needs Ray"):
            import ray  # noqa: PLC0415  (optional)
        place = places[0]
        gpu = place.device.startswith("cuda")
        own: dict[str, Any] = (
            {} if address else {"num_cpus": place.threads * len(places), "include_dashboard": False}
        )
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **own)
        self.room = len(places)
        self._ray = ray
        self._place = replace(place, device="cuda:0") if gpu else place  # Ray shows a task its GPU only
        self._work = ray.remote(num_cpus=place.threads, num_gpus=int(gpu), max_retries=0)(work)
        self._tasks: dict[Future[None], Any] = {}

    def submit(self, run: RunSpec) -> Future[None]:
        """Queue a run; the cluster begins it where it has room."""
        task = self._work.remote(run, self._place)
        future: Future[None] = task.future()
        self._tasks[future] = task
        future.add_done_callback(lambda ended: self._tasks.pop(ended, None))
        return future

    def cause(self, ended: Future[None]) -> str:
        """The first line of Ray's error."""
        return f"its Ray worker died: {str(ended.exception()).splitlines()[0]}"

    def close(self) -> None:
        """Cancel what is left, which running runs take as Ctrl-C, and leave the cluster."""
        left = list(self._tasks.values())
        for task in left:
            self._ray.cancel(task)
        if left:
            self._ray.wait(left, num_returns=len(left), timeout=GRACE)
        self._ray.shutdown()
