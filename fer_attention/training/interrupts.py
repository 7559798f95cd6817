"""SIGINT and SIGTERM during a run: the current step is finished and saved before the process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn


class TrainingStopped(Exception):  # noqa: N818  (not an error)
    """A run was saved and stopped at the caller's request; the same call resumes it.

    >>> try:
    ...     raise TrainingStopped("stopped; saved in runs/first")
    ... except TrainingStopped as stopped:
    ...     print(stopped)
    stopped; saved in runs/first
    """


@contextmanager
def deferred_signals(processes: int) -> Iterator[list[int]]:
    """Record SIGINT and SIGTERM instead of ending the process.

    A second signal ends it at once. With several processes, which receive a signal at different steps, the
    first one does, too.
    """
    received: list[int] = []
    if processes > 1 or threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def record(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, record)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_run(received: list[int], output: Path) -> NoReturn:
    """End a saved run: as the first signal would have, or by a TrainingStopped if there was none."""
    stopped = f"stopped; saved in {output}"
    if not received:
        raise TrainingStopped(stopped)
    if received[0] == signal.SIGINT:
        raise KeyboardInterrupt(stopped)
    raise SystemExit(128 + received[0])
