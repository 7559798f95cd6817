"""What carries runs out: one claimed run at a time, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch

from fer_attention.study.config import StudyConfig
from fer_attention.study.datasets import DataSets
from fer_attention.study.execute import execute
from fer_attention.study.grid import RunSpec
from fer_attention.study.store import Store
from fer_attention.training import Epoch


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        run: Its id.
        state: `taken` where another runner holds it.
        accuracy: On the validation images, where it is done.
        note: The reason of a failure, or what was set aside before.
    """

    run: str
    state: Literal["done", "failed", "taken"]
    accuracy: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Workplace:
    """What a process needs to carry out runs of a study; can be sent to another process.

    Attributes:
        folder: Of the study.
        study: The study.
        paths: Where its data sets lie.
        device: Where to compute.
        threads: Of torch, on the CPU.
    """

    folder: Path
    study: StudyConfig
    paths: dict[str, Path]
    device: str
    threads: int


def carry_out(
    run: RunSpec,
    store: Store,
    data: DataSets,
    *,
    device: str,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Outcome:
    """One run, if no other process has it or has done it. Errors of the run are noted, not raised."""
    with store.claim(run.id) as held:
        if not held:
            return Outcome(run.id, "taken")
        note = store.set_aside_if_damaged(run.id)
        if store.state(run.id) != "open":
            return Outcome(run.id, "taken")
        try:
            record = execute(
                run,
                data[str(run.factors["data"])],
                store.run_folder(run.id),
                device=device,
                on_epoch=on_epoch,
            )
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            store.fail(run, reason, traceback.format_exc())
            return Outcome(run.id, "failed", note=reason)
        return Outcome(run.id, "done", accuracy=record.validation.accuracy, note=note)


def serve(connection: Connection, place: Workplace) -> None:
    """The life of a worker process: runs come in, epochs and outcomes go out, None ends it."""
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    torch.set_num_threads(place.threads)
    store, data = Store(place.folder), DataSets(place.study, place.paths)

    def tell(message: Epoch | Outcome) -> None:
        try:
            connection.send(message)
        except OSError:  # the parent was killed: no failure of the run, whose epoch is saved
            sys.exit(128 + signal.SIGTERM)

    try:
        while (run := connection.recv()) is not None:
            tell(carry_out(run, store, data, device=place.device, on_epoch=tell))
    except EOFError:
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:  # Ctrl-C reaches all processes of a terminal; the run has saved itself
        sys.exit(130)


def _stop_with_parent() -> None:
    """A killed parent leaves no orphan: the run saves its checkpoint and ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
