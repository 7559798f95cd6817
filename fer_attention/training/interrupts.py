"""SIGINT and SIGTERM in a run: noted, so that a step is finished and saved before the process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn


class TrainingStopped(Exception):  # noqa: N818  (not an error)
    """A run was saved and left because its caller asked for that."""


@contextmanager
def noted_signals(processes: int) -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM instead of ending at once.

    Several processes get it at different steps, so there it acts at once, as does a second one.
    """
    received: list[int] = []
    if processes > 1 or threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(received: list[int], output: Path) -> NoReturn:
    """End a run that was saved, as the first signal asks or, without one, by a TrainingStopped."""
    stopped = f"stopped; saved in {output}"
    if not received:
        raise TrainingStopped(stopped)
    if received[0] == signal.SIGINT:
        raise KeyboardInterrupt(stopped)
    raise SystemExit(128 + received[0])
