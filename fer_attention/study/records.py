"""Results of runs on the disk: a record and the predictions of each run, and how they are read."""

from __future__ import annotations

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

from fer_attention.digests import file_sha256

RECORD, PREDICTIONS, FAILURE, WEIGHTS = "record.json", "predictions.npz", "failure.json", "best.safetensors"
TRAINING = "training"  # folder of a run's checkpoint; removed once the record is written


class _Part(BaseModel, frozen=True, extra="forbid"): ...


class Scores(_Part):
    """Metrics on one set of images: shares in [0, 1], with the Wilson interval of the accuracy."""

    n: int
    accuracy: float
    low: float
    high: float
    balanced_accuracy: float
    macro_f1: float
    negative_log_likelihood: float
    calibration_error: float


class LayerActivation(_Part):
    """Output statistics of one activation layer on validation images; the mean is its bias shift."""

    layer: str
    kind: str
    mean: float
    variance: float
    fraction_negative: float


class Cost(_Part):
    """Cost of the training, and of the model in inference."""

    parameters: int
    macs: int = Field(description="multiply-accumulates per image")
    train_seconds: float = Field(description="all epochs, including validation")
    images_per_second: float = Field(description="in training, median over the epochs")
    latency_ms: float = Field(description="median for one image")
    peak_memory_mb: float | None = Field(description="GPU memory in training; None on a CPU")


class DataFacts(_Part):
    """Data set and division of a run, with the number of images in each part."""

    name: str
    protocol: str
    protocol_options: dict[str, Any]
    fold: str
    fingerprint: str
    labels: tuple[str, ...]
    train_images: int
    validation_images: int
    test_images: int
    copies: int = Field(description="test images that are pixel-identical to training images")


class RunRecord(_Part):
    """Record of one finished run, as `record.json` stores it.

    >>> record = read_record(Path("my_study/runs/5f21901f93e2b609"))  # doctest: +SKIP
    >>> record.model, record.seed, record.test.accuracy  # doctest: +SKIP
    ('resnetv2_18_elu', 0, 0.5191)
    """

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
    test_new: Scores | None = Field(description="without copies of training images; None if there are none")
    cost: Cost
    activations: list[LayerActivation]
    warnings: list[str] = Field(description="training problems that were detected")
    environment: dict[str, Any]
    predictions_sha256: str = Field(description="hash of predictions.npz")
    finished: str


class Failure(_Part):
    """Record of a failed run, as `failure.json` stores it."""

    title: str
    reason: str
    details: str = Field(description="traceback, if any")


class Predictions(NamedTuple):
    """Predictions of one run on its test images."""

    names: NDArray[np.str_]  # (N,), names of the images
    groups: NDArray[np.str_] | None  # (N,), subjects, if the data set names them
    labels: NDArray[np.int64]  # (N,)
    predicted: NDArray[np.int64]  # (N,), most probable class before rounding
    probabilities: NDArray[np.float32]  # (N, classes), stored in half precision
    copies: NDArray[np.bool_]  # (N,), true for copies of training images

    def to_bytes(self) -> bytes:
        """Return a compressed NumPy archive without pickled objects."""
        columns = {name: column for name, column in self._asdict().items() if column is not None}
        for name, small in (("labels", np.uint8), ("predicted", np.uint8), ("probabilities", np.float16)):
            columns[name] = columns[name].astype(small)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **columns)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Predictions:
        """Read an archive that `to_bytes` wrote.

        Raises:
            ValueError: The content is not such an archive.
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
    """Folder of a run that is excluded, and the reason."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Records:
    """Records of a study: its finished, damaged and failed runs.

    >>> records = read_records(Path("my_study"))  # doctest: +SKIP
    >>> {run.model: run.test.accuracy for run in records.runs.values()}  # doctest: +SKIP

    Attributes:
        folder: Folder that contains the folders of the runs.
        runs: Records of the finished runs, by run id.
        set_aside: Folders with a damaged record or damaged predictions; they are excluded from all results.
        failed: Reasons of failure, by run id.
    """

    folder: Path
    runs: Mapping[str, RunRecord]
    set_aside: tuple[SetAside, ...]
    failed: Mapping[str, str]

    def predictions(self, run_id: str) -> Predictions:
        """Read the predictions of one run."""
        return Predictions.from_bytes((self.folder / run_id / PREDICTIONS).read_bytes())


def read_records(folder: Path) -> Records:
    """Read the records of all runs in `folder/runs`; damaged runs are listed with their reason.

    >>> records = read_records(Path("my_study"))  # doctest: +SKIP
    >>> len(records.runs), len(records.failed)  # doctest: +SKIP
    (40, 0)

    Raises:
        FileNotFoundError: The folder does not contain a study.
    """
    if not (runs_folder := folder / "runs").is_dir():
        raise FileNotFoundError(f"{folder} is not the folder of a study: it has no folder runs.")
    runs: dict[str, RunRecord] = {}
    set_aside: list[SetAside] = []
    failed: dict[str, str] = {}
    for one in sorted(runs_folder.iterdir()):
        if (one / RECORD).exists():
            try:
                runs[one.name] = read_record(one)
            except ValueError as error:
                set_aside.append(SetAside(one, str(error)))
        elif (one / FAILURE).exists():
            failed[one.name] = read_failure(one)
    return Records(runs_folder, runs, tuple(set_aside), failed)


def read_record(folder: Path) -> RunRecord:
    """Read the record of one run folder and check its predictions.

    Raises:
        ValueError: A file is missing, truncated, modified or belongs to another run.
    """
    try:
        record = RunRecord.model_validate_json((folder / RECORD).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or RECORD
        raise ValueError(f"{RECORD} is damaged: {where}: {first['msg']}") from error
    if record.id != folder.name:
        raise ValueError(f"{RECORD} belongs to run {record.id}, not to this folder")
    file = folder / PREDICTIONS
    if not file.is_file():
        raise ValueError(f"{PREDICTIONS} is missing")
    if file_sha256(file) != record.predictions_sha256:
        raise ValueError(f"{PREDICTIONS} does not match the hash in the record: truncated or modified")
    return record


def read_failure(folder: Path) -> str:
    """Read why the run in a folder failed."""
    try:
        return Failure.model_validate_json((folder / FAILURE).read_bytes()).reason
    except ValidationError:
        return f"unknown: {FAILURE} is damaged"
