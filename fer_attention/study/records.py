"""What a run leaves: one record, its predictions beside it, and the reading of many."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

RECORD, PREDICTIONS, FAILURE, WEIGHTS = "record.json", "predictions.npz", "failure.json", "best.safetensors"
TRAINING = "training"  # folder of a run's checkpoint; removed once the record is written


class _Part(BaseModel, frozen=True, extra="forbid"): ...


class Scores(_Part):
    """Measures on one set of images; shares in [0, 1], with the Wilson interval of this one run."""

    n: int
    accuracy: float
    low: float
    high: float
    balanced_accuracy: float
    macro_f1: float
    negative_log_likelihood: float
    calibration_error: float


class LayerActivation(_Part):
    """What one activation layer gives out on validation images: the mean is the bias shift."""

    layer: str
    kind: str
    mean: float
    variance: float
    fraction_negative: float


class Cost(_Part):
    """What a run took, and what its model takes."""

    parameters: int
    macs: int = Field(description="multiply-accumulates for one image")
    train_seconds: float = Field(description="all epochs, with validation")
    images_per_second: float = Field(description="of training, median over the epochs")
    latency_ms: float = Field(description="one image, median")
    peak_memory_mb: float | None = Field(description="of the GPU in training; None on a CPU")


class DataFacts(_Part):
    """Which images trained, selected and were reported."""

    name: str
    protocol: str
    protocol_options: dict[str, Any]
    fold: str
    fingerprint: str
    labels: tuple[str, ...]
    train_images: int
    validation_images: int
    test_images: int
    copies: int = Field(description="test images that are, pixel for pixel, also training images")


class RunRecord(_Part):
    """One finished run."""

    format: int = 1
    id: str
    factors: dict[str, str | float]
    seed: int
    fold: int
    model: str
    config: dict[str, Any]
    data: DataFacts
    tta: str
    selected_epoch: int
    history: list[dict[str, float]]
    validation: Scores
    test: Scores
    test_new: Scores | None = Field(description="without the copies of training images, where there are any")
    cost: Cost
    activations: list[LayerActivation]
    warnings: list[str] = Field(description="training problems that were detected, in sentences")
    environment: dict[str, Any]
    predictions_sha256: str = Field(description="of the file of predictions beside the record")
    finished: str


class Failure(_Part):
    """Why a run failed."""

    title: str
    reason: str
    details: str = Field(description="traceback, where there is one")


class Predictions(NamedTuple):
    """Predictions of one run on its test images."""

    names: NDArray[np.str_]  # N names of images
    groups: NDArray[np.str_] | None  # N subjects, where the set names them
    labels: NDArray[np.int64]  # int64 (N,)
    predicted: NDArray[np.int64]  # int64 (N,), the likeliest class before any rounding
    probabilities: NDArray[np.float32]  # float32 (N, classes), rounded to half precision on the disk
    copies: NDArray[np.bool_]  # (N,), true where an image is also a training image

    def to_bytes(self) -> bytes:
        """A compressed NumPy archive; nothing in it is pickled."""
        columns = {name: column for name, column in self._asdict().items() if column is not None}
        for name, small in (("labels", np.uint8), ("predicted", np.uint8), ("probabilities", np.float16)):
            columns[name] = columns[name].astype(small)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **columns)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Predictions:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: It is not such an archive.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return cls(
                    names=archive["names"],
                    groups=archive.get("groups"),
                    labels=archive["labels"].astype(np.int64),
                    predicted=archive["predicted"].astype(np.int64),
                    probabilities=archive["probabilities"].astype(np.float32),
                    copies=archive["copies"],
                )
        except (OSError, KeyError, ValueError, RuntimeError, EOFError, BadZipFile, zlib.error) as error:
            raise ValueError(f"not an archive of predictions: {error}") from error


class SetAside(NamedTuple):
    """A run folder that is not used, and why."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Records:
    """The finished runs of a study, and what became of the others.

    Attributes:
        folder: The runs' folders are in it.
        runs: Records by run id.
        set_aside: Folders whose record or predictions are damaged; never averaged in.
        failed: Reasons by run id.
    """

    folder: Path
    runs: Mapping[str, RunRecord]
    set_aside: tuple[SetAside, ...]
    failed: Mapping[str, str]

    def predictions(self, run_id: str) -> Predictions:
        """The predictions of one run, read anew."""
        return Predictions.from_bytes((self.folder / run_id / PREDICTIONS).read_bytes())


def read_records(folder: Path) -> Records:
    """All runs under `folder/runs`; damaged ones are set aside with their reason.

    Raises:
        FileNotFoundError: There is no study in the folder.
    """
    if not (place := folder / "runs").is_dir():
        raise FileNotFoundError(f"{folder} holds no study: there is no folder runs in it.")
    runs: dict[str, RunRecord] = {}
    set_aside: list[SetAside] = []
    failed: dict[str, str] = {}
    for one in sorted(place.iterdir()):
        if (one / RECORD).exists():
            try:
                runs[one.name] = read_record(one)
            except ValueError as error:
                set_aside.append(SetAside(one, str(error)))
        elif (one / FAILURE).exists():
            failed[one.name] = read_failure(one)
    return Records(place, runs, tuple(set_aside), failed)


def read_record(folder: Path) -> RunRecord:
    """Read the record of one run folder and check its predictions.

    Raises:
        ValueError: A file is missing, cut off, changed or of another run.
    """
    try:
        record = RunRecord.model_validate_json((folder / RECORD).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or RECORD
        raise ValueError(f"{RECORD} is damaged: {where}: {first['msg']}") from error
    if record.id != folder.name:
        raise ValueError(f"{RECORD} is of run {record.id}, not of this folder")
    file = folder / PREDICTIONS
    if not file.is_file():
        raise ValueError(f"{PREDICTIONS} is missing")
    if hashlib.sha256(file.read_bytes()).hexdigest() != record.predictions_sha256:
        raise ValueError(f"{PREDICTIONS} is not the file that the record names: cut off or changed")
    return record


def read_failure(folder: Path) -> str:
    """Why the run of a folder failed."""
    try:
        return Failure.model_validate_json((folder / FAILURE).read_bytes()).reason
    except ValidationError:
        return f"unknown: {FAILURE} is damaged"
