"""Estimates of time, memory and disk: multiply-accumulates, timed by a few training steps."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import torch

from fer_attention.data import FaceDataset
from fer_attention.data.files import ImageFiles
from fer_attention.device import resolve_device
from fer_attention.evaluation import Complexity, complexity
from fer_attention.models import ModelSpec, save_weights
from fer_attention.models.factory import from_spec
from fer_attention.study.config import StudyError
from fer_attention.study.grid import RunSpec
from fer_attention.training.precision import resolve_precision
from fer_attention.training.timing import step_timer

BASE_MEMORY = 1.2e9  # bytes of a process that has imported torch
RECORD_SIZE = 1e5  # bytes of a run's record and predictions, without the part that grows with the images
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of the runs of a study on this machine."""

    seconds: float  # for all runs, `workers` at a time, without early stopping
    workers: int  # runs in parallel
    disk: float  # bytes, including the checkpoints of the runs in training
    measured: str  # basis of the estimated time
    overhead: float  # the part of `seconds` that is not training: start of processes, data, models, files


def counts_of(run: RunSpec) -> Complexity:
    """Count the parameters, MACs and activations of a run's model.

    Raises:
        StudyError: The model cannot be built.
    """
    try:
        return _counts(run.config.spec().to_json())
    except (ValueError, TypeError) as error:
        raise StudyError(f"{run.config.model} cannot be built: {error}") from error


@cache
def _counts(spec: str) -> Complexity:
    return complexity(from_spec(ModelSpec.from_json(spec), device="meta"))


def images_of(run: RunSpec, data: FaceDataset) -> tuple[int, int]:
    """Return the numbers of training images, rounded, and of validation images."""
    fold = run.protocol(data).fold(run.fold)
    return round(len(fold.train) * float(run.factors["fraction"])), len(fold.validation)


def work_of(run: RunSpec, data: FaceDataset) -> float:
    """Return the multiply-accumulates of a run, see `training_work`."""
    return training_work(counts_of(run).macs, run.config.epochs, *images_of(run, data))


def training_work(macs: float, epochs: int, train: float, validation: float) -> float:
    """Return the multiply-accumulates of a training; a training step counts as three forward passes.

    Args:
        macs: Multiply-accumulates of the model for an image.
        epochs: Number of epochs.
        train: Number of training images.
        validation: Number of validation images.
    """
    return macs * epochs * (3.0 * train + validation)


def memory_of(run: RunSpec, data: FaceDataset) -> float:
    """Return the bytes that a run may need: weights with averages and momentum, activations, images."""
    counts = counts_of(run)
    activations = 4.0 * 3 * counts.activations * run.config.batch_size
    images = 0.0 if isinstance(data.images, ImageFiles) else 2.0 * data.images.nbytes  # training copies them
    return BASE_MEMORY + 20.0 * counts.parameters + activations + images


def free_memory() -> int:
    """Return the free memory in bytes, or the limit of the container if that is lower."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # not in a container, or no limit
        free = min(free, int(CONTAINER_LIMIT.read_text()))
    return free


def workers_for(runs: Sequence[RunSpec], data: Mapping[str, FaceDataset], device: torch.device) -> int:
    """Return the number of parallel runs: one per GPU, or one per CPU core as far as memory allows."""
    if device.type == "cuda":
        return 1 if device.index is not None else torch.cuda.device_count()
    largest = max(memory_of(run, data[run.data_name]) for run in runs)
    return max(1, min(cores(), int(free_memory() * 0.8 / largest), len(runs)))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def estimate(
    runs: Sequence[RunSpec],
    data: Mapping[str, FaceDataset],
    *,
    workers: int | None = None,
    device: torch.device | str = "auto",
    reading: float = 0.0,
) -> Estimate:
    """Estimate the cost of runs from a few training steps of the run of median size.

    Args:
        runs: The runs.
        data: Data sets by name.
        workers: Number of parallel runs; None for as many as `workers_for` says.
        device: Device of the runs.
        reading: Seconds that a process takes to read the data.

    Raises:
        ValueError: `runs` is empty, or `workers` is below 1.
    """
    if not runs or (workers is not None and workers < 1):
        raise ValueError(f"estimate needs at least one run and one worker, got {len(runs)} and {workers}.")
    device = resolve_device(device)
    workers = workers or workers_for(runs, data, device)
    work = {run.id: work_of(run, data[run.data_name]) for run in runs}
    median = sorted(runs, key=lambda run: work[run.id])[len(runs) // 2]
    rate, batch = _macs_per_second(median, device)
    once, each_epoch = _fixed_seconds(median)
    fixed = sum(once + each_epoch * run.config.epochs for run in runs) / workers
    overhead = _start_seconds() + reading + fixed
    parameters = [counts_of(run).parameters for run in runs]
    weights = 4.0 * sum(parameters) * runs[0].study.keep_weights
    predictions = sum(32.0 * images_of(run, data[run.data_name])[1] + RECORD_SIZE for run in runs)
    return Estimate(
        seconds=sum(work.values()) / rate / workers + overhead,
        workers=workers,
        disk=weights + predictions + workers * 20.0 * max(parameters),
        measured=f"training steps of {median.config.model}, batch {batch}, on one of {workers} workers",
        overhead=overhead,
    )


@cache
def _start_seconds() -> float:
    """Measure how long a worker process takes to start."""
    command = [sys.executable, "-c", "import fer_attention.study.engines"]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    return time.perf_counter() - start


def _fixed_seconds(run: RunSpec) -> tuple[float, float]:
    """Measure the time of a run apart from its training: once, and for each epoch.

    A run builds its model four times (training, averages, two loads) and times single images. It saves
    weights and a checkpoint after each epoch.
    """
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        model = from_spec(run.config.spec()).eval()
    built = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        save_weights(model, Path(folder, "weights.safetensors"))
        saved = time.perf_counter()
    image = torch.zeros(1, *model.spec.input_size)
    with torch.inference_mode():
        for _ in range(5):
            model(image)
    passes = (time.perf_counter() - saved) / 5
    return 4 * (built - start) + 40 * passes, 2 * (saved - built)


def _macs_per_second(run: RunSpec, device: torch.device) -> tuple[float, int]:
    """Measure the rate of training on random images, with one thread on a CPU; also return the batch size."""
    batch = min(run.config.batch_size, 32)
    dtype = torch.bfloat16 if resolve_precision(run.config, device) == "bfloat16" else torch.float32
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        timer = step_timer(
            run.config.spec(), images=batch, channels_last=run.config.channels_last, device=device
        )
        seconds = statistics.median([timer(dtype) for _ in range(4)][1:])
    finally:
        torch.set_num_threads(threads)
    return 3.0 * counts_of(run).macs * batch / seconds, batch
