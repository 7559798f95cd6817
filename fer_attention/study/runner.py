"""Runner of a study: executes its missing runs and survives failures, kills and restarts."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Literal

import torch

from fer_attention.data.origin import store_origin, stored_origin
from fer_attention.device import resolve_device
from fer_attention.plugins import named_plugins
from fer_attention.registry import check_choice
from fer_attention.study.config import StudyConfig, StudyError
from fer_attention.study.datasets import DataSets
from fer_attention.study.engines import Engine, LocalEngine, RayEngine, WorkerConfig
from fer_attention.study.estimate import cores, counts_of, work_of, workers_for
from fer_attention.study.grid import RunSpec, expand
from fer_attention.study.progress import StudyProgress, Tracker
from fer_attention.study.records import read_record
from fer_attention.study.store import Store
from fer_attention.training import TrainingError
from fer_attention.training.preflight import check_config
from fer_attention.training.setup import check_device

ATTEMPTS = 2  # deaths of its process in one call after which a run has failed
POLL_SECONDS = 1.0  # between two updates of the progress


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
    """Run a study, or resume it: execute all of its runs that are not finished.

    Finished runs are not repeated, and several processes may work in the same folder. If a run fails, its
    reason is recorded and the others continue. If its process is killed, it resumes from its checkpoint once;
    killed again, it has failed. On Ctrl-C every run saves a checkpoint; the same call resumes from there.

    >>> progress = run_study(
    ...     load_study("smoke"), Path("my_smoke"), paths={"fer2013": Path("fer2013.zip")}
    ... )  # doctest: +SKIP
    >>> progress.done, progress.failed  # doctest: +SKIP
    (40, ())

    Args:
        study: The study.
        output: Folder of the study; created if it does not exist.
        paths: Paths of the data sets, by name.
        workers: Number of parallel runs. By default one per GPU, or one per CPU core as far as memory allows;
            on a Ray cluster, as many as it has capacity for.
        device: auto, cpu, cuda (all GPUs) or cuda:N.
        retry_failed: Restart failed runs.
        engine: `local` for processes of this machine, or `ray` for a cluster.
        address: Address of the Ray cluster; by default a local one is started.
        on_progress: Called every second and whenever a run ends.

    Raises:
        StudyError: The study cannot be run; nothing was started.
        ValueError: The device does not exist.
        ImportError: Ray is not installed.
    """
    if workers is not None and workers < 1:
        raise StudyError(f"workers must be 1 or more, got {workers}.")
    check_choice("engine", engine, ("local", "ray"))
    if address is not None and engine != "ray":
        raise StudyError(f"address={address!r} is for engine='ray'.")
    resolved = resolve_device(device)
    data, store = DataSets(study, paths), Store(output.resolve())
    known = expand(study)  # all errors that do not depend on the data, before they are read
    check_configs(known, resolved)
    origins = data.origins()
    if (finished := _finished_before(study, store, origins, known)) is not None:
        return finished
    runs = expand(study, data.all())
    work = {run.id: work_of(run, data[run.data_name]) for run in runs}
    store.begin(study, runs)
    tracker = Tracker(store, runs, work)
    todo = [run for run in runs if _is_open(run, store, data, tracker.notes, retry_failed=retry_failed)]
    store_origin(store.folder, origins)
    if not todo:
        return tracker.progress()
    capacity = len(todo) if engine == "ray" and address else workers_for(todo, data.all(), resolved)
    count = min(workers or capacity, len(todo))
    every_gpu = resolved.type == "cuda" and resolved.index is None
    configs = [
        WorkerConfig(
            folder=store.folder,
            paths={name: path.resolve() for name, path in (paths or {}).items()},
            device=f"cuda:{number % torch.cuda.device_count()}" if every_gpu else str(resolved),
            threads=max(1, cores() // count),
            plugins=named_plugins(),
        )
        for number in range(count)
    ]
    executor = LocalEngine(configs) if engine == "local" else RayEngine(configs, address)
    try:
        _execute_all(todo, executor, store, tracker, on_progress)
    finally:
        executor.close()
    return tracker.progress()


def check_configs(runs: Sequence[RunSpec], device: torch.device | str) -> None:
    """Check the models and weights of all runs, without data.

    Raises:
        StudyError: A model cannot be built or trained.
    """
    checked, device = set(), resolve_device(device)
    for run in runs:
        config = run.config
        counts_of(run)
        files = config.weights, config.backbone_weights, config.freeze, config.teachers
        key = (config.model, str(config.structure), config.precision, *files)
        if key in checked:
            continue
        checked.add(key)
        try:
            check_device(config, device)
            if any(files):
                check_config(config, device=device)
        except (ValueError, TrainingError) as error:
            raise StudyError(f"Cannot train {run.title}: {error}") from error


def _finished_before(
    study: StudyConfig, store: Store, origins: Mapping[str, Any], known: Sequence[RunSpec]
) -> StudyProgress | None:
    """Return the progress of a study whose runs are all done, on data whose files are the same.

    None if a run is open or damaged, or anything has changed: then the data are read.
    """
    synthetic = any(origin["data"] is None for origin in origins.values())
    if synthetic or stored_origin(store.folder) != origins:
        return None
    manifest = store.manifest()
    place = {"data": {"__all__": {"path"}}}
    same = manifest.study.model_dump(exclude=place) == study.model_dump(exclude=place)
    planned = [run.id for run in manifest.runs]
    if not same or not {run.id for run in known} <= set(planned):
        return None
    try:
        for run_id in planned:
            read_record(store.run_folder(run_id))
    except (ValueError, OSError):
        return None
    return StudyProgress(len(planned), len(planned), (), (), (), (), seconds_left=None)


def _is_open(run: RunSpec, store: Store, data: DataSets, notes: list[str], *, retry_failed: bool) -> bool:
    """Check whether a run still needs to be executed, after cleaning up its folder.

    Raises:
        StudyError: The run is finished, but on other images.
    """
    with store.claim(run.id) as held:
        if held and (damage := store.tidy(run.id)):
            notes.append(f"{run.title}: {damage}. The run is repeated.")
        state = store.state(run.id)
        if held and state == "failed" and retry_failed:
            store.retry(run.id)
            return True
        if held and state == "done":
            record = read_record(store.run_folder(run.id))
            if record.data.fingerprint != data[run.data_name].fingerprint:
                raise StudyError(
                    f"{store.folder} contains runs on other images of {run.data_name}, such as {run.title}. "
                    "Use the same data, or another folder."
                )
    return state == "open"


def _execute_all(
    todo: Sequence[RunSpec],
    engine: Engine,
    store: Store,
    tracker: Tracker,
    on_progress: Callable[[StudyProgress], None],
) -> None:
    waiting, running = deque(todo), dict[Future[None], RunSpec]()
    deaths = Counter[str]()
    while waiting or running:
        while waiting and len(running) < engine.capacity:
            run = waiting.popleft()
            running[engine.submit(run)] = run
        ended, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
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
