"""The runs of a study on Ray: many machines with many GPUs that share the study's folder and the data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from fer_attention.optional import needs_extra
from fer_attention.study.datasets import DataSets
from fer_attention.study.grid import RunSpec
from fer_attention.study.progress import Tracker
from fer_attention.study.store import Store
from fer_attention.study.worker import Outcome, Workplace, carry_out

_data: dict[str, DataSets] = {}  # of this process, which carries out many runs


def run_on_ray(
    todo: Sequence[RunSpec], places: Sequence[Workplace], tracker: Tracker, *, address: str | None
) -> None:
    """Carry runs out on a cluster, as many at a time as it has room for; records as of local processes.

    Args:
        todo: What is to be carried out.
        places: As for local processes; the first one's threads and kind of device are what a run asks for.
        tracker: Told what happens.
        address: Of a running cluster (`auto` finds this machine's); None starts one with as many CPUs as
            the places ask for, and stops it in the end.

    Raises:
        ImportError: Ray is not installed.
    """
    with needs_extra("ray", "--runner ray needs Ray"):
        import ray  # noqa: PLC0415  (optional)
    place = places[0]
    gpu = place.device.startswith("cuda")
    ray.init(
        address=address,
        num_cpus=None if address else place.threads * len(places),
        include_dashboard=None if address else False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    try:
        remote = ray.remote(num_cpus=place.threads, num_gpus=1 if gpu else 0, max_retries=0)(_carry_out)
        running: dict[Any, RunSpec] = {remote.remote(run, place): run for run in todo}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            for one in ready:
                run = running.pop(one)
                tracker.ended(run, _outcome(ray, one, run, Store(place.folder)))
    finally:
        ray.shutdown()


def _carry_out(run: RunSpec, place: Workplace) -> Outcome:
    torch.set_num_threads(place.threads)
    key = str(place.folder)
    if key not in _data:
        _data[key] = DataSets(place.study, place.paths)
    device = "cuda:0" if place.device.startswith("cuda") else place.device  # Ray shows a task its GPU only
    return carry_out(run, Store(place.folder), _data[key], device=device)


def _outcome(ray: Any, reference: Any, run: RunSpec, store: Store) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = f"its Ray worker died: {str(error).splitlines()[0]}"
        with store.claim(run.id) as held:
            if held:
                store.fail(run, reason, str(error))
        return Outcome(run.id, "failed", note=reason)
    return outcome
