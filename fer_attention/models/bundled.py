"""Bundled weights, `<model name>.<tag>`: trained and measured by this project.

Each weights file has a record of its measurements beside it, written by `benchmarks/pretrained.py`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fer_attention.registry import unknown_name

DEFAULT = "resnetv2_18_eca_elu.ferplus"
"""The default of `EmotionRecognizer.from_pretrained()`."""

_FOLDER = Path(__file__).parents[1] / "weights"
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Measured:
    """An accuracy with its 95 % interval, in [0, 1], over n images."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True)
class PretrainedModel:
    """A bundled model and its measurements.

    >>> list_pretrained()[0].crowd_accuracy.value > 0.5
    True

    Attributes:
        name: Name for `create_model`, `EmotionRecognizer.from_pretrained` and the option `--weights`.
        summary: Intended use, in a sentence.
        labels: Emotions in the order of the outputs.
        parameters: Number of parameters.
        macs: Multiply-accumulates per face.
        size: Size of the weights file in bytes.
        sha256: Checksum of the weights file.
        crowd_accuracy: Agreement with the voters on FER2013's PrivateTest where at least six of ten agree,
            on seven emotions, without test-time augmentation.
        crowd_accuracy_without_copies: The same without images that are, pixel for pixel, training images.
        label_accuracy: Agreement with FER2013's own labels on all of PrivateTest, otherwise the same.
        milliseconds: Time per face on one CPU thread, by runtime (`torch`, `onnx`).
        data: Training data.
        licence: Licence of the weights, and the terms of the data.
    """

    name: str
    summary: str
    labels: tuple[str, ...]
    parameters: int
    macs: int
    size: int
    sha256: str
    crowd_accuracy: Measured
    crowd_accuracy_without_copies: Measured
    label_accuracy: Measured
    milliseconds: dict[str, float]
    data: str
    licence: str


def list_pretrained() -> list[PretrainedModel]:
    """List the bundled models, the default first, the others by name.

    >>> list_pretrained()[0].name
    'resnetv2_18_eca_elu.ferplus'
    """
    names = sorted(bundled_names(), key=lambda name: (name != DEFAULT, name))
    read = TypeAdapter(PretrainedModel).validate_python
    return [read(pretrained_record(name)["model"]) for name in names]


def pretrained_record(name: str) -> dict[str, Any]:
    """Read all measurements of bundled weights, as `benchmarks/pretrained.py` wrote them.

    Raises:
        UnknownNameError: No bundled weights have this name.
        FileNotFoundError: The weights have not been measured yet.
    """
    path = bundled_path(name).with_suffix(".json")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run python benchmarks/pretrained.py measure {name}.")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def bundled_names() -> list[str]:
    """List the names of all bundled weights, sorted.

    >>> DEFAULT in bundled_names()
    True
    """
    return sorted(file.stem for file in _FOLDER.glob(f"*{_SUFFIX}"))


def weights_path(source: str | Path) -> Path:
    """Resolve a path or the name of bundled weights to a weights file.

    Raises:
        UnknownNameError: `source` is neither a file nor the name of bundled weights.
    """
    path = Path(source)
    if path.suffix == _SUFFIX or os.path.isfile(path) or len(path.parts) > 1:
        return path
    return bundled_path(str(source))


def bundled_path(name: str) -> Path:
    """Return the file of bundled weights; a name without a tag stands for its first tag.

    >>> bundled_path("resnetv2_18_eca_elu").name
    'resnetv2_18_eca_elu.fer2013.safetensors'

    Raises:
        UnknownNameError: No bundled weights have this name.
    """
    fitting = [known for known in bundled_names() if name in (known, known.split(".")[0])]
    if not fitting:
        raise unknown_name("bundled weights", name, bundled_names())
    return _FOLDER / f"{fitting[0]}{_SUFFIX}"
