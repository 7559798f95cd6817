"""Conditions of a timing: features of the CPU, and other work on the machine."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BUSY = 0.1
"""Share of the cores' time that other work may take in a run whose record is published."""

FEATURES = ("sse4_2", "f16c", "fma", "avx", "avx2", "avx_vnni", "neon", "asimd", "sve", "sve2", "bf16")
FAMILIES = ("avx512", "amx")
STAT = Path("/proc/stat")


def cpu_features() -> tuple[str, ...]:
    """Return the processor's vector instruction sets, as Linux names them; empty on other systems."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    found = flags.partition(":")[2].split()
    return tuple(sorted(flag for flag in found if flag in FEATURES or flag.startswith(FAMILIES)))


@dataclass
class Load:
    """Share of the cores' time that other work took, in [0, 1]; None if the system does not tell."""

    others: float | None = None

    @property
    def busy(self) -> bool:
        """True if other work took too much time for timings to be published."""
        return self.others is not None and self.others > BUSY


@contextmanager
def watched_load() -> Iterator[Load]:
    """Measure the other work on the machine during a block; the result is complete at its end."""
    load = Load()
    before = _cores_and_own()
    yield load
    after = _cores_and_own()
    if before is None or after is None:
        return
    total, used, own = (later - earlier for later, earlier in zip(after, before, strict=True))
    load.others = round(min(1.0, max(0.0, (used - own) / total)), 3) if total > 0 else 0.0


def _cores_and_own() -> tuple[float, float, float] | None:
    """Return seconds of all cores, in all and in use, and seconds of this process and its children."""
    if not STAT.is_file():
        return None
    ticks = [int(value) for value in STAT.read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    per_second = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    own = sum(os.times()[:4])
    return sum(ticks) / per_second, (sum(ticks) - idle) / per_second, own


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--allow-busy`."""
    parser.add_argument(
        "--allow-busy",
        action="store_true",
        help="write the record even if other work took more than a tenth of the cores; it says so",
    )


def refuse_if_busy(load: Load, *, allow: bool, record: object) -> None:
    """Stop before a record is written if the machine was busy, unless that is allowed.

    Raises:
        SystemExit: The machine was busy and a record was requested.
    """
    if not load.busy or load.others is None:
        return
    words = f"The machine was busy: other work took {load.others:.0%} of its cores' time"
    if record is not None and not allow:
        raise SystemExit(
            f"{words}, and at most {BUSY:.0%} is allowed. No record was written. Repeat on an idle machine, "
            "or pass --allow-busy; record and page then say that the machine was busy."
        )
    print(f"{words}. The times are not those of an idle machine.", file=sys.stderr)


def check_before(*, allow: bool, record: object, seconds: float = 1.0) -> None:
    """Watch the machine for a moment before a long measurement, and stop if it is busy already.

    Raises:
        SystemExit: As for `refuse_if_busy`.
    """
    if record is None or allow:
        return
    with watched_load() as load:
        time.sleep(seconds)
    refuse_if_busy(load, allow=allow, record=record)
