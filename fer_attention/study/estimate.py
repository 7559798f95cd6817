"""What a study will take: counted by multiply-accumulates, timed by a few steps on this machine."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import psutil
import torch
from torch.nn import functional as F

from fer_attention.data import FaceCrops
from fer_attention.data.files import ImageFiles
from fer_attention.device import resolve_device
from fer_attention.evaluation import Complexity, complexity
from fer_attention.models import ModelSpec
from fer_attention.models.factory import from_spec
from fer_attention.study.config import StudyError
from fer_attention.study.grid import RunSpec
from fer_attention.training.setup import resolve_precision

BASE_MEMORY = 1.2e9
"""Bytes of a process with torch in it."""

CURVES_AND_PREDICTIONS = 1e5
"""Bytes of a run's record and predictions besides what grows with its images."""


@dataclass(frozen=True)
class Estimate:
    """What the runs of a study will take on this machine.

    Attributes:
        runs: How many.
        macs: Multiply-accumulates of all of them.
        seconds: Of all runs, `workers` at a time, each going on to its last epoch; early stops save some.
        workers: Runs at a time.
        disk: Bytes that stay.
        peak_disk: Bytes with the checkpoints of the running ones.
        measured: What the seconds were scaled from.
    """

    runs: int
    macs: float
    seconds: float
    workers: int
    disk: float
    peak_disk: float
    measured: str


@lru_cache(maxsize=256)
def _counts(spec_json: str) -> Complexity:
    return complexity(from_spec(ModelSpec.from_json(spec_json), device="meta"))


def counts_of(run: RunSpec) -> Complexity:
    """Parameters, MACs and activations of a run's model.

    Raises:
        StudyError: The model cannot be built.
    """
    try:
        return _counts(run.config.spec().to_json())
    except (ValueError, TypeError) as error:
        raise StudyError(f"{run.config.model} cannot be built: {error}") from error


def images_of(run: RunSpec, data: FaceCrops) -> tuple[int, int]:
    """About how many images train, and how many select, in a run: without dividing the set."""
    fold = run.protocol(data).folds[run.fold]
    return round(len(fold.train) * float(run.factors["fraction"])), len(fold.validation)


def work_of(run: RunSpec, data: FaceCrops) -> float:
    """Multiply-accumulates of a run: a training step takes three forward passes' worth."""
    train, validation = images_of(run, data)
    return counts_of(run).macs * run.config.epochs * (3.0 * train + validation)


def memory_of(run: RunSpec, data: FaceCrops) -> float:
    """Bytes that a run's process may take: weights with averages and momentum, activations, images."""
    counts = counts_of(run)
    activations = 4.0 * 3 * counts.activations * run.config.batch_size
    return BASE_MEMORY + 20.0 * counts.parameters + activations + _bytes_in_memory(data)


def _bytes_in_memory(data: FaceCrops) -> float:
    """Of the images and of the copy that training makes; files that stay on the disk take none."""
    return 0.0 if isinstance(data.images, ImageFiles) else 2.0 * data.images.nbytes


def workers_for(runs: Sequence[RunSpec], data: Mapping[str, FaceCrops], device: torch.device) -> int:
    """Runs at a time: one per GPU, or on a CPU one per core as far as the free memory goes."""
    if device.type == "cuda":
        return 1 if device.index is not None else torch.cuda.device_count()
    largest = max((memory_of(run, data[str(run.factors["data"])]) for run in runs), default=BASE_MEMORY)
    room = int(psutil.virtual_memory().available * 0.8 / largest)
    return max(1, min(cores(), room, len(runs)))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def estimate(
    runs: Sequence[RunSpec],
    data: Mapping[str, FaceCrops],
    *,
    workers: int | None = None,
    device: torch.device | str = "auto",
) -> Estimate:
    """What the runs will take, from a few training steps of the run whose size is in the middle.

    Raises:
        ValueError: There are no runs or no workers.
    """
    if not runs or (workers is not None and workers < 1):
        raise ValueError(f"estimate needs a run and a worker or more, got {len(runs)} and {workers}.")
    device = resolve_device(device)
    workers = workers or workers_for(runs, data, device)
    work = {run.id: work_of(run, data[str(run.factors["data"])]) for run in runs}
    middle = sorted(runs, key=lambda run: work[run.id])[len(runs) // 2]
    rate, batch = _macs_per_second(middle, device)
    parameters = [counts_of(run).parameters for run in runs]
    kept = sum(4.0 * n for n, run in zip(parameters, runs, strict=True) if run.keep_weights)
    images = sum(32.0 * images_of(run, data[str(run.factors["data"])])[1] for run in runs)
    disk = kept + images + CURVES_AND_PREDICTIONS * len(runs)
    return Estimate(
        runs=len(runs),
        macs=sum(work.values()),
        seconds=sum(work.values()) / rate / workers,
        workers=workers,
        disk=disk,
        peak_disk=disk + workers * 20.0 * max(parameters, default=0),
        measured=f"training steps of {middle.config.model}, batch {batch}, on one of {workers} workers",
    )


def _macs_per_second(run: RunSpec, device: torch.device) -> tuple[float, int]:
    """Of training, measured on random images with one thread on a CPU."""
    threads = torch.get_num_threads()
    batch = min(run.config.batch_size, 32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = from_spec(run.config.spec()).to(device).train()
        images = torch.rand(batch, *model.spec.input_size, device=device)
        labels = torch.zeros(batch, dtype=torch.long, device=device)
        kind = torch.bfloat16 if resolve_precision(run.config, device) == "bfloat16" else torch.float32
        if run.config.channels_last:
            model = model.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)
        try:
            torch.set_num_threads(1)
            times = []
            for _ in range(4):
                start = time.perf_counter()
                with torch.autocast(device.type, dtype=kind, enabled=kind == torch.bfloat16):
                    loss = F.cross_entropy(model(images).float(), labels)
                torch.autograd.backward(loss)
                float(loss.detach())
                times.append(time.perf_counter() - start)
        finally:
            torch.set_num_threads(threads)
    return 3.0 * counts_of(run).macs * batch / statistics.median(times[1:]), batch
