"""The state of a run on the disk: whole or the one before, and enough to go on at any step."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fer_attention.atomic import write_atomically
from fer_attention.data import FaceDataset
from fer_attention.models.bundled import weights_path
from fer_attention.training.config import TrainConfig

NAME = "checkpoint.pt"

FREE_FIELDS = {"checkpoint_minutes", "trackers", "workers"}
"""Fields that may change between two parts of a run: no result depends on them."""


class TrainingError(RuntimeError):
    """A run that cannot go on: a loss that is no number, or a folder that holds another run."""


def identity(config: TrainConfig, data: FaceDataset, *, processes: int, select_on: str) -> dict[str, Any]:
    """Collect what must be equal for a run to resume."""
    return {
        "config": config.model_dump(exclude=FREE_FIELDS),
        "files": {
            source: hashlib.sha256(weights_path(source).read_bytes()).hexdigest()
            for source in (config.weights, *config.teachers)
            if source is not None
        },
        "data": data.fingerprint,
        "select_on": select_on,
        "processes": processes,
    }


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint of `folder`; see `writing`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_result(folder / NAME, buffer.getvalue())


def write_result(path: Path, content: bytes) -> None:
    """Write one file of a run; see `writing`."""
    with writing(path):
        write_atomically(path, content)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A full disk or a closed folder is a TrainingError; the file before is whole, and the run can go on."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"Cannot write {path}: {error.strerror or error}. What was saved before is whole: make room, or "
            "make the folder writable, then start the same command again; the run continues from there."
        ) from error


def make_folder(output: Path) -> None:
    """Make the folder of a run, or raise a TrainingError."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"Cannot make the folder {output}: {error.strerror or error}.") from error


def read_checkpoint(folder: Path, expected: dict[str, Any]) -> dict[str, Any] | None:
    """The state to go on from; None in a folder without one. What a kill left half-written is removed.

    Raises:
        TrainingError: The folder holds a run of another config, other data, start weights or teachers, or on
            another number of processes, or its checkpoint cannot be read.
    """
    for leftover in folder.glob(f".{NAME}.*"):
        leftover.unlink(missing_ok=True)
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        found = state["identity"]
    except Exception as error:  # torch.load raises anything on foreign bytes, and advises to trust them
        raise TrainingError(
            f"{path} is not a checkpoint of this library, or is damaged. Remove it to start afresh."
        ) from error
    if difference := _difference(found, expected):
        raise TrainingError(
            f"{folder} holds {difference}. Choose another folder, or remove that one to start afresh."
        )
    return state


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """Describe how a run differs from the expected one; empty if it does not.

    Weights that a run starts from or learns from are the same wherever they lie: their content counts.
    """
    before, now = _sources(found), _sources(expected)
    for (role, path, content), (its, former, then) in zip(now, before, strict=False):
        if (role, path) == (its, former) and then and content != then:
            return f"a run whose {role} was {path} with other content: that file was replaced since"
    contents = [[(role, content) for role, _, content in sources] for sources in (before, now)]
    config, other = dict(found["config"]), expected["config"]
    if contents[0] == contents[1]:
        config |= {field: other[field] for field in ("weights", "teachers")}
    if fields := [name for name in other if name not in config or config[name] != other[name]]:
        changes = (f"{name} was {config.get(name)!r}, is {other[name]!r}" for name in fields)
        return f"a run of another config: {', '.join(changes)}"
    if found["data"] != expected["data"]:
        return "a run on other data: its images, labels or splits are not the same"
    others = {"select_on": "selected on another split", "processes": "of more or fewer processes"}
    for name, words in others.items():
        if found[name] != expected[name]:
            return f"a run {words}: {name} was {found[name]!r}, is {expected[name]!r}"
    return ""


def _sources(identity: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The weights that a run starts from and its teachers: what they are to it, path and SHA-256."""
    config, contents = identity["config"], identity.get("files", {})
    start = [] if config.get("weights") is None else [("start weights", config["weights"])]
    teachers = [("teacher", path) for path in config.get("teachers", ())]
    return [(role, path, contents.get(path, "")) for role, path in (*start, *teachers)]
