"""Interleaved timing of several calls, and their memory.

Every call runs once per round, in an order that rotates from round to round, so that the load of a shared
machine affects all alike. Comparisons use the ratios within a round. On a GPU, CUDA events time the work.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

Call = Callable[[], object]

MIB = 2**20
LEAST_ROUNDS = 3
RESAMPLES = 2000


@dataclass(frozen=True)
class Effort:
    """Duration of a measurement.

    Attributes:
        rounds: Maximum number of rounds.
        seconds: Time after which no new round starts, once there are three.
        warmup: Calls of each candidate before the first round; they are not timed.
        least_ms: Minimum duration of a sample; quick calls are repeated within it.
    """

    rounds: int = 15
    seconds: float = math.inf
    warmup: int = 2
    least_ms: float = 10

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("warmup", 1), ("seconds", 0), ("least_ms", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}.")


def interleaved(
    calls: Mapping[str, Call], effort: Effort, *, device: torch.device | str = "cpu"
) -> dict[str, list[float]]:
    """Time each call in each round, in milliseconds.

    Args:
        calls: Calls to time, by name.
        effort: Number of rounds and time limit.
        device: Device of the work; a CUDA device is timed by its events.
    """
    timer = _cuda_ms if torch.device(device).type == "cuda" else _cpu_ms
    repeats = {name: _warmed(call, effort, timer) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    for turn in range(effort.rounds):
        if turn >= LEAST_ROUNDS and time.perf_counter() - began > effort.seconds:
            break
        for name in round_order(list(calls), turn):
            times[name].append(timer(calls[name], repeats[name]))
    return times


def round_order(names: Sequence[str], turn: int) -> list[str]:
    """Return the order of a round: forwards, then backwards, then both rotated by one.

    >>> ["".join(round_order("abc", turn)) for turn in range(6)]
    ['abc', 'cba', 'bca', 'acb', 'cab', 'bac']
    """
    start = turn // 2 % len(names)
    order = [*names[start:], *names[:start]]
    return order[::-1] if turn % 2 else order


def _warmed(call: Call, effort: Effort, timer: Callable[[Call, int], float]) -> int:
    """Warm up a call and return its number of repeats per sample."""
    for _ in range(effort.warmup):
        last = timer(call, 1)
    return max(1, math.ceil(effort.least_ms / max(last, 1e-3)))


def _cpu_ms(call: Call, repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) * 1e3 / repeats


def _cuda_ms(call: Call, repeats: int) -> float:
    event: Any = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / repeats


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median and quartiles."""
    q25, median, q75 = np.percentile(values, [25, 50, 75])
    return {"median": _short(median), "q25": _short(q25), "q75": _short(q75)}


def ratio(above: Sequence[float], below: Sequence[float], *, seed: int = 0) -> dict[str, float]:
    """Return the median of the rounds' ratios with its 95 % bootstrap interval."""
    ratios = np.divide(above, below)
    picks = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return {"median": _short(np.median(ratios)), "low": _short(low), "high": _short(high)}


def _short(value: Any) -> float:
    return float(f"{float(value):.4g}")


def peak_mib(call: Call, *, device: torch.device | str = "cpu") -> float:
    """Measure the peak of tensor memory during a call, in MiB above the start.

    On a GPU torch's allocator reports the peak. On a CPU it is the peak of the running sum over the
    allocations and releases that the profiler reports. This is exact and reproducible, unlike a process's
    resident set, which includes freed memory that malloc retains; oneDNN's own workspace is not included.
    Call once beforehand, so that one-time allocations do not count.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return round((torch.cuda.max_memory_allocated() - held) / MIB, 2)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        watched.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"]
    changes.sort(key=lambda change: change[0])
    running = np.cumsum([0, *(size for _, size in changes)])
    return round(float(running.max()) / MIB, 2)


def held_mib(module: torch.nn.Module, *tensors: torch.Tensor) -> float:
    """Return the size of a module's parameters and buffers, and of some tensors, in MiB."""
    held = [*tensors, *module.parameters(), *module.buffers()]
    return round(sum(t.numel() * t.element_size() for t in held) / MIB, 2)


def resident_peak_mib(call: Call) -> float:
    """Measure the growth of the resident set during a call, in MiB; needs Linux and a fresh process.

    Checks `peak_mib`: the resident set also includes freed memory that malloc retains.
    """
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    held = _resident("VmRSS")
    call()
    return round(_resident("VmHWM") - held, 1)


def _resident(kind: str) -> float:
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(kind)]
    return int(line.split()[1]) / 1024
