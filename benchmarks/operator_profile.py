"""Profile a step: the operators that take most of its time, with and without attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from candidates import PAPER, Candidate
from cost_record import Operator, Profile
from cost_sections import build_networks, default_variant
from cost_setup import STEPS, Setup, batch_for, log
from timing import Call
from torch.profiler import ProfilerActivity, profile

STEPS_WATCHED = 3
LISTED = 24
LONGEST_NAME = 80


def profiles(
    setup: Setup,
    *,
    names: Sequence[str] = ("resnet50",),
    sizes: Sequence[int],
    modes: Sequence[str] = tuple(STEPS),
    batch_size: int | None = None,
) -> Iterator[Profile]:
    """Profile each network without attention and with each of the paper's blocks."""
    candidates = [Candidate("none", "plain"), *(Candidate(a, default_variant(a)) for a in PAPER)]
    for network in names:
        for size in sizes:
            batch = batch_size or batch_for(size, setup.device, network)
            x = setup.images(batch, 1, size, size)
            models = build_networks(candidates, network, size, setup)
            for mode in modes:
                for name, model in models.items():
                    call = STEPS[mode](model, x, setup)
                    for _ in range(setup.effort.warmup):
                        call()
                    operators = _operators(call, setup.device)
                    total = sum(operator.self_ms for operator in operators)
                    log(f"{network} {name} {mode}: {total:.1f} ms")
                    yield Profile(
                        candidate=name,
                        subject=network,
                        mode=mode,
                        size=size,
                        batch=batch,
                        total_ms=round(total, 3),
                        operators=tuple(operators[:LISTED]),
                    )


def _operators(call: Call, device: str) -> list[Operator]:
    """Return all operators of a step, slowest first: kernels on a GPU, torch's operators on a CPU."""
    cuda = device == "cuda"
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]
    with profile(activities=activities) as watched:
        for _ in range(STEPS_WATCHED):
            call()
        if cuda:
            torch.cuda.synchronize()
    operators = []
    for event in watched.key_averages():
        if cuda != (event.device_type.name == "CUDA"):
            continue
        microseconds = event.self_device_time_total if cuda else event.self_cpu_time_total
        operators.append(
            Operator(
                name=event.key[:LONGEST_NAME],
                calls=round(event.count / STEPS_WATCHED, 2),
                self_ms=round(microseconds / 1e3 / STEPS_WATCHED, 4),
            )
        )
    return sorted(operators, key=lambda operator: -operator.self_ms)
