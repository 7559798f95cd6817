"""Carries out the runs of a study; what is done stays done, whatever happens."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Literal

import torch

from fer_attention.device import resolve_device
from fer_attention.study.config import StudyConfig, StudyError
from fer_attention.study.datasets import DataSets
from fer_attention.study.engines import Engine, LocalEngine, RayEngine, Workplace
from fer_attention.study.estimate import cores, work_of, workers_for
from fer_attention.study.grid import RunSpec, expand
from fer_attention.study.progress import StudyProgress, Tracker
from fer_attention.study.records import read_record
from fer_attention.study.store import Store

ATTEMPTS = 2  # processes that a run may lose in one call before it counts as failed
SECONDS = 1.0  # between two looks at the progress of the runs


def run_study(
    study: StudyConfig,
    output: Path,
    *,
    paths: Mapping[str, Path] | None = None,
    workers: int | None = None,
    device: torch.device | str = "auto",
    retry_failed: bool = False,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    on_progress: Callable[[StudyProgress], None] = lambda progress: None,
) -> StudyProgress:
    """Carry out what is missing of a study.

    Runs that are done are not done again, also not by a second runner in the same folder at the same time.
    A run that fails is noted with its reason and the others go on. A run whose process is killed resumes
    from its checkpoint, once; if that process is killed too, the run has failed. Ctrl-C lets every run save a
    checkpoint first; the same call resumes from there, as it does after a kill.

    Args:
        study: The study.
        output: Folder of the study; created if it does not exist.
        paths: Where the data sets are, by name.
        workers: Runs at a time. By default one for each GPU, or on a CPU one for each core as far as the
            memory goes; in a Ray cluster, all that it has room for.
        device: auto, cpu, cuda (all GPUs) or cuda:N.
        retry_failed: Begin failed runs anew.
        engine: `local` for processes of this machine, or `ray` to spread runs over a cluster.
        address: Of the Ray cluster; by default one on this machine alone.
        on_progress: Called every second and whenever a run ends.

    Raises:
        StudyError: The study cannot be run; nothing was started.
        ValueError: There is no such device.
        ImportError: Ray is not installed.
    """
    if workers is not None and workers < 1:
        raise StudyError(f"workers is 1 or more, got {workers}.")
    if engine not in ("local", "ray"):
        raise StudyError(f"engine is local or ray, got {engine!r}.")
    resolved = resolve_device(device)
    data = DataSets(study, paths)
    runs = expand(study, data.all())
    work = {run.id: work_of(run, data[run.data_name]) for run in runs}
    store = Store(output.resolve())
    store.begin(study, runs)
    tracker = Tracker(store, runs, work)
    todo = [run for run in runs if _is_open(run, store, data, tracker.notes, retry_failed=retry_failed)]
    if not todo:
        return tracker.progress()
    room = len(todo) if engine == "ray" and address else workers_for(todo, data.all(), resolved)
    count = min(workers or room, len(todo))
    every_gpu = resolved.type == "cuda" and resolved.index is None
    places = [
        Workplace(
            folder=store.folder,
            paths={name: path.resolve() for name, path in (paths or {}).items()},
            device=f"cuda:{number % torch.cuda.device_count()}" if every_gpu else str(resolved),
            threads=max(1, cores() // count),
        )
        for number in range(count)
    ]
    on = LocalEngine(places) if engine == "local" else RayEngine(places, address)
    try:
        _carry_out(todo, on, store, tracker, on_progress)
    finally:
        on.close()
    return tracker.progress()


def _is_open(run: RunSpec, store: Store, data: DataSets, notes: list[str], *, retry_failed: bool) -> bool:
    """Whether a run is still to be carried out.

    Raises:
        StudyError: It was done on other images than those given.
    """
    with store.claim(run.id) as held:
        if held and (damage := store.tidy(run.id)):
            notes.append(f"{run.title}: {damage}. It is run again.")
        state = store.state(run.id)
        if held and state == "failed" and retry_failed:
            store.retry(run.id)
            return True
        if held and state == "done":
            record = read_record(store.run_folder(run.id))
            if record.data.fingerprint != data[run.data_name].fingerprint:
                raise StudyError(
                    f"{store.folder} holds runs on other images of {run.data_name} than those given now, "
                    f"such as {run.title}. Give the same data, or choose another folder."
                )
    return state == "open"


def _carry_out(
    todo: Sequence[RunSpec],
    engine: Engine,
    store: Store,
    tracker: Tracker,
    on_progress: Callable[[StudyProgress], None],
) -> None:
    waiting, running = deque(todo), dict[Future[None], RunSpec]()
    deaths = Counter[str]()
    while waiting or running:
        while waiting and len(running) < engine.room:
            run = waiting.popleft()
            running[engine.submit(run)] = run
        ended, _ = wait(running, timeout=SECONDS, return_when=FIRST_COMPLETED)
        for future in ended:
            run = running.pop(future)
            if future.exception() is None:
                if store.state(run.id) == "open":
                    tracker.elsewhere.append(run)
                continue
            cause = engine.cause(future)
            deaths[run.id] += 1
            if deaths[run.id] < ATTEMPTS:
                tracker.notes.append(f"{run.title}: {cause}. The run resumes from its checkpoint.")
                waiting.appendleft(run)
                continue
            with store.claim(run.id) as held:
                if held and store.state(run.id) == "open":
                    store.fail(run, cause)
        on_progress(tracker.progress(running.values()))
