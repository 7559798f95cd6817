"""Source files of a run, their chunks, and the names of their crops."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from fer_attention.atomic import shortened
from fer_attention.faces.decoding import ADDRESS, is_address
from fer_attention.faces.folders.journal import Stamp
from fer_attention.faces.photo_files import walk

CHUNK = 16
_LONGEST = 230  # bytes of a part of a crop's path, without number, digest and suffix


@dataclass(frozen=True)
class Job:
    """A source file: its identity, its printable path below the source folder, and the path of its crops.

    Bytes of `name` that are not UTF-8 are hexadecimal escapes; `target` has no number and suffix yet.
    """

    stamp: Stamp
    name: str
    target: str


def list_jobs(source: Path, output: Path) -> list[Job]:
    """List a photo, or all files below a folder in a fixed order, without hidden files and `output`.

    Raises:
        FileNotFoundError: The source does not exist.
        ValueError: The source contains no file, or is the output itself.
    """
    if not source.exists():
        reason = ADDRESS if is_address(source) else "it does not exist."
        raise FileNotFoundError(f"Cannot read the source {source}: {reason}")
    if source.resolve() == output.resolve():
        raise ValueError(f"Source and output are the same folder, {source}. Choose another for the crops.")
    root = source if source.is_dir() else source.parent
    files = [source] if source.is_file() else walk(source, without=[output])
    if not files:
        raise ValueError(f"The folder {source} contains no file to read.")
    names = [path.relative_to(root).as_posix() for path in files]
    shown = [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
    facts = [path.stat(follow_symlinks=path.exists()) for path in files]
    stamps = [Stamp(name, one.st_size, one.st_mtime_ns) for name, one in zip(names, facts, strict=True)]
    return list(map(Job, stamps, shown, _targets(names, shown)))


def chunks(jobs: list[Job]) -> list[list[Job]]:
    """Split jobs into chunks within one folder, so that a new photo changes the chunks of its folder only."""
    by_folder = groupby(jobs, key=lambda job: PurePosixPath(job.stamp.name).parent)
    groups = [list(group) for _, group in by_folder]
    return [group[start : start + CHUNK] for group in groups for start in range(0, len(group), CHUNK)]


def _targets(names: list[str], shown: list[str]) -> list[str]:
    """Drop suffixes of printable names where that leaves all targets different, and shorten long names."""
    stems = [str(PurePosixPath(name).with_suffix("")) for name in shown]
    counts = Counter(map(str.lower, stems))
    targets = [stem if counts[stem.lower()] == 1 else name for name, stem in zip(shown, stems, strict=True)]
    counts = Counter(map(str.lower, targets))
    digests = [hashlib.sha256(os.fsencode(name)).hexdigest()[:8] for name in names]
    return [
        "/".join(map(_valid, target.split("/"))) + (f"-{digest}" if counts[target.lower()] > 1 else "")
        for target, digest in zip(targets, digests, strict=True)
    ]


def _valid(part: str) -> str:
    """Shorten a part of a path so that a number and suffixes fit behind it; other parts stay different."""
    if len(part.encode()) <= _LONGEST:
        return part
    digest = hashlib.sha256(part.encode()).hexdigest()[:8]
    return f"{shortened(part, _LONGEST - 9)}-{digest}"
