"""Weights that come with the package: `<model name>.<tag>`, trained and measured by this project.

Beside each weights file lies a record of what was measured on it, written by `benchmarks/pretrained.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fer_attention.registry import unknown_name

DEFAULT = "resnetv2_18_eca_elu.ferplus"
"""What `EmotionRecognizer.from_pretrained()` takes."""

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
    """A model with weights, and what is known of it.

    Attributes:
        name: For `create_model`, `EmotionRecognizer.from_pretrained` and every command's `--weights`.
        summary: What it is for, in a sentence.
        labels: The emotions in the order of its outputs.
        parameters: Learned numbers.
        macs: Multiply-accumulates for one face.
        size: Bytes of the weights file.
        sha256: Of the weights file.
        crowd_accuracy: Agreement with ten voters where six or more of them agree, FER2013's PrivateTest,
            seven emotions, one plain pass.
        crowd_accuracy_without_copies: The same without the faces that are, pixel for pixel, training images.
        label_accuracy: Agreement with FER2013's own labels, all of PrivateTest, otherwise alike.
        milliseconds: For one face, by the way of running it (`torch`, `onnx`), on one CPU thread.
        data: What it was trained on.
        licence: Of the weights, and whose terms the data is under.
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
    """The models that come with weights, the default first, then by name.

    >>> [model.name for model in list_pretrained() if "neutral" in model.labels][0] == DEFAULT
    True
    """
    names = sorted(bundled_names(), key=lambda name: (name != DEFAULT, name))
    read = TypeAdapter(PretrainedModel).validate_python
    return [read(pretrained_record(name)["model"]) for name in names]


def pretrained_record(name: str) -> dict[str, Any]:
    """All that was measured on bundled weights, as `benchmarks/pretrained.py` wrote it.

    Raises:
        UnknownNameError: No weights of this name come with the package.
        FileNotFoundError: They were taken into the package and not measured yet.
    """
    path = bundled_path(name).with_suffix(".json")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run python benchmarks/pretrained.py measure {name}.")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def bundled_names() -> list[str]:
    """The names of all bundled weights, sorted."""
    return sorted(file.stem for file in _FOLDER.glob(f"*{_SUFFIX}"))


def weights_path(source: str | Path) -> Path:
    """Resolve a path or the name of bundled weights to a weights file.

    Raises:
        UnknownNameError: It is not a file, and no weights of this name come with the package.
    """
    path = Path(source)
    if path.suffix == _SUFFIX or path.is_file() or len(path.parts) > 1:
        return path
    return bundled_path(str(source))


def bundled_path(name: str) -> Path:
    """The file of bundled weights. `resnetv2_18_eca_elu` without a tag stands for its first one, `.fer2013`.

    Raises:
        UnknownNameError: No weights of this name come with the package.
    """
    fitting = [known for known in bundled_names() if name in (known, known.split(".")[0])]
    if not fitting:
        raise unknown_name("bundled weights", name, bundled_names())
    return _FOLDER / f"{fitting[0]}{_SUFFIX}"
