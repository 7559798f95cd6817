"""Looks at processes and files that come and go while a test looks.

A child may end between being listed and being asked, and a file may be renamed between being listed and being
opened. Nothing here fails for that: what has gone is not in the answer.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil


def wait_for(condition, process, seconds=600):
    """Wait until a condition holds, and return its value; fail if the process ends before."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        if process.poll() is not None:
            raise AssertionError(f"the process ended before with exit code {process.poll()}")
        if time.monotonic() > limit:
            raise AssertionError(f"nothing happened in {seconds} s")
        time.sleep(0.005)
    return found


class Child(NamedTuple):
    """A process below another one that had not ended when it was asked for its name and command."""

    pid: int
    name: str
    command: list[str]

    def kill(self):
        """Send SIGKILL, and wait until the process has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        assert wait_until_gone([self.pid]) == []


def children_of(process):
    """List the processes below a process that have not ended, children of its children included."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # a zombie raises one of its kind, too
                if not gone(child.pid):
                    found.append(Child(child.pid, child.name(), child.cmdline()))
    return found


def wait_until_gone(pids, seconds=600):
    """Return those of some processes that have not ended after so long."""
    limit = time.monotonic() + seconds
    pids = [*pids]
    while (left := [pid for pid in pids if not gone(pid)]) and time.monotonic() < limit:
        time.sleep(0.01)
    return left


def gone(pid):
    """Return whether a process has ended, even if its parent has not asked for its exit code."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def times(paths):
    """Return the modification time of each file that exists."""
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):
            found[path] = path.stat().st_mtime_ns
    return found


def files_below(folder):
    """Return the size of every file below a folder, temporary files included."""
    found = {}
    for parent, _, names in os.walk(folder):  # which passes over folders that have gone, unlike rglob
        for path in (Path(parent, name) for name in names):
            with suppress(FileNotFoundError):
                found[path] = path.stat().st_size
    return found
