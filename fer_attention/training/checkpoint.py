"""The state of a run on the disk: whole or the one before, and enough to go on at any step."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_attention.atomic import write_atomically
from fer_attention.data import FaceCrops
from fer_attention.data.files import ImageFiles
from fer_attention.models.bundled import weights_path
from fer_attention.training.config import TrainConfig

NAME = "checkpoint.pt"

FREE_FIELDS = {"checkpoint_minutes", "trackers", "workers"}
"""Fields that may change between two parts of a run: no number hangs on them."""


class TrainingError(RuntimeError):
    """A run that cannot go on: a loss that is no number, or a folder that holds another run."""


def identity(config: TrainConfig, data: FaceCrops, *, processes: int, select_on: str) -> dict[str, Any]:
    """What must be the same for a run to be gone on with."""
    return {
        "config": config.model_dump(exclude=FREE_FIELDS),
        "files": {
            source: hashlib.sha256(weights_path(source).read_bytes()).hexdigest()
            for source in (config.weights, *config.teachers)
            if source is not None
        },
        "data": fingerprint(data),
        "select_on": select_on,
        "processes": processes,
    }


def fingerprint(data: FaceCrops) -> str:
    """A hash of the images (of files that stay on the disk: of their names), labels, targets and splits."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(data.images, ImageFiles):
        digest.update("\n".join(data.names.tolist()).encode())
    else:
        digest.update(np.ascontiguousarray(data.images).data)
    digest.update(np.ascontiguousarray(data.labels).data)
    if data.targets is not None:
        digest.update(np.ascontiguousarray(data.targets).data)
    digest.update("\n".join([*data.splits.tolist(), *data.label_names]).encode())
    return digest.hexdigest()


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint of `folder`.

    Raises:
        TrainingError: The disk is full or the folder cannot be written; the checkpoint before is whole.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_result(folder / NAME, buffer.getvalue())


def write_result(path: Path, content: bytes) -> None:
    """Write one file of a run, or say that the run can go on once there is room."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise TrainingError(
            f"Cannot write {path}: {error}. What was saved before is whole: make room, or make the folder "
            "writable, then start the same command again; the run goes on from there."
        ) from error


def read_checkpoint(folder: Path, expected: dict[str, Any]) -> dict[str, Any] | None:
    """The state to go on from; None in a folder without one. What a kill left half-written is removed.

    Raises:
        TrainingError: The folder holds a run of another config, of other data or on another number of
            processes, or its checkpoint cannot be read.
    """
    for leftover in folder.glob(f".{NAME}.*"):
        leftover.unlink(missing_ok=True)
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        found = state["identity"]
    except Exception as error:  # torch.load raises nearly anything on foreign bytes
        raise TrainingError(f"{path} is no checkpoint of this library: {error}") from error
    for name, value in expected.items():
        if found.get(name) != value:
            raise TrainingError(
                f"{folder} holds a run of another {name}: {_difference(found.get(name), value)}. "
                "Choose another folder, or remove that one to start afresh."
            )
    return state


def _difference(found: Any, expected: Any) -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        names = [name for name in expected if found.get(name) != expected[name]]
        return ", ".join(f"{name} was {found.get(name)!r}, is {expected[name]!r}" for name in names)
    return f"was {found!r}, is {expected!r}"
