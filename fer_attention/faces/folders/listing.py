"""Which files a run works on, in which order and portions, and what their crops are called."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from fer_attention.faces.folders.journal import Stamp

CHUNK = 16


@dataclass(frozen=True)
class Job:
    """A source file.

    Attributes:
        stamp: The file as it is on the disk.
        name: Its path below the source folder as text; bytes that are no UTF-8 are written in hexadecimal.
        target: Path of its crops below the output folder, without number and suffix.
    """

    stamp: Stamp
    name: str
    target: str


def list_jobs(source: Path, output: Path) -> list[Job]:
    """Every file below a folder, sorted by path; hidden files and folders are left out.

    Args:
        source: A folder, or one photo.
        output: The folder of the crops; where it lies inside the source, it is left out.

    Raises:
        FileNotFoundError: The source is not there.
        ValueError: The source holds no file, or is the output itself.
    """
    if not source.exists():
        raise FileNotFoundError(f"The source {source} does not exist.")
    if source.resolve() == output.resolve():
        raise ValueError(f"Source and output are one folder, {source}: crops would lie among the photos.")
    root = source if source.is_dir() else source.parent
    files = [source] if source.is_file() else _files(source, output.resolve(), (source.resolve(),))
    if not files:
        raise ValueError(f"The folder {source} holds no file to read.")
    names = [path.relative_to(root).as_posix() for path in files]
    shown = [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
    targets = _targets(shown)
    jobs = []
    for path, name, text in zip(files, names, shown, strict=True):
        facts = os.stat(path, follow_symlinks=path.exists())
        jobs.append(Job(Stamp(name, facts.st_size, facts.st_mtime_ns), text, targets[text]))
    return jobs


def chunks(jobs: list[Job]) -> list[list[Job]]:
    """Portions within one folder each, so that a new photo changes the portions of its own folder only."""
    portions = []
    for _, group in groupby(jobs, key=lambda job: PurePosixPath(job.stamp.name).parent):
        together = list(group)
        portions += [together[start : start + CHUNK] for start in range(0, len(together), CHUNK)]
    return portions


def _files(folder: Path, output: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """A folder's own files, then those of the folders in it; a link to a folder above is not followed."""
    found: list[Path] = []
    below: list[Path] = []
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):
            (below if path.is_dir() else found).append(path)
    for path in below:
        resolved = path.resolve()
        if resolved != output and resolved not in above:
            found += _files(path, output, (*above, resolved))
    return found


def _targets(names: list[str]) -> dict[str, str]:
    """Names without suffix, or with it where two photos of a folder differ by the suffix alone."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    for chosen in (stems, {**stems, **_with_suffix(stems)}):
        if max(Counter(target.lower() for target in chosen.values()).values()) == 1:
            return chosen
    return {name: name for name in names}


def _with_suffix(stems: dict[str, str]) -> dict[str, str]:
    counts = Counter(stem.lower() for stem in stems.values())
    return {name: name for name, stem in stems.items() if counts[stem.lower()] > 1}
