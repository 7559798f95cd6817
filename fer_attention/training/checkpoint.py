"""Checkpoints: written atomically, and sufficient to resume a run at any step."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from fer_attention.atomic import write_atomically
from fer_attention.data import FaceDataset
from fer_attention.digests import file_sha256
from fer_attention.models.bundled import weights_path
from fer_attention.os_errors import reason_of
from fer_attention.training.config import TrainConfig

NAME = "checkpoint.pt"

LOCK = ".lock"
"""File that is locked while a process trains into a folder."""

FREE_FIELDS = {"checkpoint_minutes", "trackers", "workers"}
"""Fields that can change when a run resumes, since they do not affect its result."""


class TrainingError(RuntimeError):
    """A run cannot continue: its loss is not finite, or its folder contains another run.

    >>> try:
    ...     raise TrainingError("The loss is nan in epoch 1, step 3 of 4.")
    ... except RuntimeError as error:
    ...     print(error)
    The loss is nan in epoch 1, step 3 of 4.
    """


def identity(config: TrainConfig, data: FaceDataset, *, processes: int, select_on: str) -> dict[str, Any]:
    """Collect the facts that must be equal for a run to resume."""
    facts = {"data": data.fingerprint, "select_on": select_on, "processes": processes}
    return {**config_identity(config), **facts}


def config_identity(config: TrainConfig) -> dict[str, Any]:
    """Collect those of the facts that do not depend on the data: the config, and digests of its files."""
    return {"config": config.model_dump(exclude=FREE_FIELDS), "files": file_digests(config)}


def file_digests(config: TrainConfig) -> dict[str, str]:
    """Return the SHA-256 of each weights file that a config names, by the name in the config."""
    sources = [source for source in (config.weights, *config.teachers) if source is not None]
    named = {source: weights_path(source) for source in sources}
    if config.backbone_weights is not None and Path(config.backbone_weights).is_file():
        named[config.backbone_weights] = Path(config.backbone_weights)
    return {source: _digest(path, path.stat().st_mtime_ns) for source, path in named.items()}


@cache
def _digest(path: Path, changed: int) -> str:
    """Return the digest of a file, which is computed again when it has `changed`, a time in nanoseconds."""
    return file_sha256(path)


@contextmanager
def run_lock(output: Path) -> Iterator[None]:
    """Hold the folder of a run, so that no other process trains into it.

    Raises:
        TrainingError: Another process holds it.
    """
    lock = FileLock(output / LOCK, thread_local=False)
    with write_errors(output / LOCK):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise TrainingError(
                f"Another process is training into {output}. Wait until it ends, or choose another folder."
            ) from error
    try:
        yield
    finally:
        lock.release()


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint in `folder`; see `write_errors`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_result(folder / NAME, buffer.getvalue())


def write_result(path: Path, content: bytes) -> None:
    """Write one file of a run; see `write_errors`."""
    with write_errors(path):
        write_atomically(path, content)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a TrainingError: the previous file is intact, and the run can resume."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"Cannot write {path}: {reason_of(error)}. Earlier files are intact: free disk space, or "
            "make the folder writable, and repeat the command; the run resumes from its checkpoint."
        ) from error


def make_folder(output: Path) -> None:
    """Create the folder of a run, or raise a TrainingError."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"Cannot create the folder {output}: {reason_of(error)}.") from error


def read_checkpoint(folder: Path, expected: dict[str, Any]) -> dict[str, Any] | None:
    """Read the checkpoint of a folder, or return None; remove files that a kill left half-written.

    Raises:
        TrainingError: The checkpoint belongs to another config, data set, start weights, teachers or number
            of processes, or cannot be read.
    """
    for leftover in folder.glob(f".{NAME}.*"):
        leftover.unlink(missing_ok=True)
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        found = state["identity"]
    except Exception as error:  # torch.load raises anything on other files, and suggests trusting them
        raise TrainingError(
            f"{path} is not a checkpoint of this library, or is damaged. Remove it to start again."
        ) from error
    if difference := _difference(found, expected):
        raise TrainingError(
            f"{folder} contains {difference}. Choose another folder, or remove this one to start again."
        )
    return state


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """Describe the first difference between two runs; empty if there is none.

    Start weights and teachers are compared by content, so their files can move. What `expected` lacks is not
    compared.
    """
    before, now = _sources(found), _sources(expected)
    for (role, path, content), (its, former, then) in zip(now, before, strict=False):
        if (role, path) == (its, former) and then and content != then:
            return f"a run whose {role} was {path} with other content; the file has changed since"
    contents = [[(role, content or path) for role, path, content in sources] for sources in (before, now)]
    config, other = dict(found["config"]), expected["config"]
    if contents[0] == contents[1]:
        config |= {field: other[field] for field in ("weights", "backbone_weights", "teachers")}
    if fields := [name for name in other if name not in config or config[name] != other[name]]:
        changes = (f"{name} was {config.get(name)!r}, is {other[name]!r}" for name in fields)
        return f"a run of another config: {', '.join(changes)}"
    if "data" in expected and found["data"] != expected["data"]:
        return "a run on other data: images, labels or splits differ"
    others = {"select_on": "selected on another split", "processes": "on another number of processes"}
    for name, words in others.items():
        if name in expected and found[name] != expected[name]:
            return f"a run {words}: {name} was {found[name]!r}, is {expected[name]!r}"
    return ""


def _sources(identity: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return role, path and SHA-256 of a run's start weights, ImageNet weights and teachers."""
    config, contents = identity["config"], identity.get("files", {})
    named = [("start weights", config.get("weights")), ("ImageNet weights", config.get("backbone_weights"))]
    named += [("teacher", path) for path in config.get("teachers", ())]
    return [(role, path, contents.get(path, "")) for role, path in named if path is not None]
