"""Engines that execute runs: local processes, or a Ray cluster."""

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
from fer_attention.plugins import load_plugin
from fer_attention.study.datasets import DataSets
from fer_attention.study.execute import execute
from fer_attention.study.grid import RunSpec
from fer_attention.study.store import Store

GRACE_SECONDS = 120.0  # for runs in training to save their checkpoints when a study is stopped


@dataclass(frozen=True)
class WorkerConfig:
    """Configuration of a worker: folder of the study, paths of its data, device, CPU threads, plug-ins."""

    folder: Path
    paths: dict[str, Path]
    device: str
    threads: int
    plugins: tuple[str, ...] = ()


_data: dict[Path, DataSets] = {}  # by folder of the study: a process executes many runs


def work(run: RunSpec, config: WorkerConfig) -> None:
    """Execute one run unless it is done, has failed or is held by another process.

    The folder of the study then holds a record or a failure with its reason: errors are recorded, not raised.
    """
    for plugin in config.plugins:
        load_plugin(plugin)
    torch.set_num_threads(config.threads)
    data = _data.setdefault(config.folder, DataSets(run.study, config.paths))
    store = Store(config.folder)
    with store.claim(run.id) as held:
        if held and store.state(run.id) == "open":
            try:
                execute(run, data[run.data_name], store.run_folder(run.id), device=config.device)
            except Exception as error:
                store.fail(run, f"{type(error).__name__}: {error}", traceback.format_exc())


class Engine(Protocol):
    """Protocol of engines: they execute runs with `work`, at most `capacity` in parallel."""

    capacity: int

    def submit(self, run: RunSpec) -> Future[None]:
        """Start a run; the engine must have capacity for it. The future raises if the process dies."""

    def cause(self, ended: Future[None]) -> str:
        """Explain why the process of a future died."""

    def close(self) -> None:
        """Let runs in training save their checkpoints, then end all processes."""


class LocalEngine:
    """Processes of this machine, one for each worker.

    Each process is in its own pool, so that its death does not affect other runs.
    """

    def __init__(self, configs: Sequence[WorkerConfig]) -> None:
        self.capacity = len(configs)
        self._workers = [_Worker(config) for config in configs]

    def submit(self, run: RunSpec) -> Future[None]:
        """Start a run in a free process."""
        return next(worker for worker in self._workers if worker.is_free()).submit(run)

    def cause(self, ended: Future[None]) -> str:
        """Name the signal or exit code of the process."""
        return next(worker for worker in self._workers if worker.future is ended).cause()

    def close(self) -> None:
        """End all processes; runs in training save first."""
        started = [worker for worker in self._workers if worker.future is not None]
        for worker in started:
            worker.process.terminate()
        for worker in started:
            worker.process.join(GRACE_SECONDS)
            worker.process.kill()
            worker.pool.shutdown()


class _Worker:
    """Worker process that is restarted if it has died."""

    pool: ProcessPoolExecutor
    process: BaseProcess
    future: Future[None] | None = None

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config

    def is_free(self) -> bool:
        return self.future is None or self.future.done()

    def submit(self, run: RunSpec) -> Future[None]:
        if self.future is None or not self.process.is_alive():
            self._start()
        self.future = self.pool.submit(_work, run, self._config)
        return self.future

    def _start(self) -> None:
        before = set(multiprocessing.active_children())
        # The process inherits the mask: Ctrl-C reaches all processes of a terminal, but only ends the parent.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            spawn = multiprocessing.get_context("spawn")  # forking running torch threads may hang
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
        hint = ": perhaps out of memory; use fewer workers" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"


def _watch_parent() -> None:
    """End this process with its parent; a run in training saves its checkpoint first."""

    def end_with_parent() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _work(run: RunSpec, config: WorkerConfig) -> None:
    try:
        work(run, config)
    except (
        KeyboardInterrupt,
        SystemExit,
    ):  # the training has saved; the pool would return the exception as a result
        os._exit(128 + signal.SIGTERM)


class RayEngine:
    """Ray cluster whose machines share the folder of the study and the paths of the data.

    Args:
        configs: As for local processes; each run requests the threads and the device type of the first.
        address: Address of a running cluster (`auto` finds the one of this machine). None starts a cluster
            with as many CPUs as the configurations request, and stops it at the end.

    Raises:
        ImportError: Ray is not installed.
    """

    def __init__(self, configs: Sequence[WorkerConfig], address: str | None) -> None:
        with needs_extra("ray", "The engine ray needs Ray"):
            import ray  # noqa: PLC0415  (optional)
        config = configs[0]
        gpu = config.device.startswith("cuda")
        own: dict[str, Any] = (
            {} if address else {"num_cpus": config.threads * len(configs), "include_dashboard": False}
        )
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **own)
        self.capacity = len(configs)
        self._ray = ray
        self._config = replace(config, device="cuda:0") if gpu else config  # a task sees only its own GPU
        self._work = ray.remote(num_cpus=config.threads, num_gpus=int(gpu), max_retries=0)(work)
        self._tasks: dict[Future[None], Any] = {}

    def submit(self, run: RunSpec) -> Future[None]:
        """Queue a run; the cluster starts it when it has capacity."""
        task = self._work.remote(run, self._config)
        future: Future[None] = task.future()
        self._tasks[future] = task
        future.add_done_callback(lambda ended: self._tasks.pop(ended, None))
        return future

    def cause(self, ended: Future[None]) -> str:
        """Return the first line of Ray's error."""
        return f"its Ray worker died: {str(ended.exception()).splitlines()[0]}"

    def close(self) -> None:
        """Cancel all tasks, which runs in training receive like Ctrl-C, and disconnect."""
        left = list(self._tasks.values())
        for task in left:
            self._ray.cancel(task)
        if left:
            self._ray.wait(left, num_returns=len(left), timeout=GRACE_SECONDS)
        self._ray.shutdown()
