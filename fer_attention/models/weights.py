"""Weights files: one safetensors file with everything that rebuilds and feeds the model.

The metadata holds the format's number, the ModelSpec, the labels, the preprocessing and, as far as the
caller gives it, a record of where the weights come from. Nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import ndiff
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from fer_attention.atomic import write_atomically
from fer_attention.data.preprocessing import Preprocessing
from fer_attention.models.base import FERModel
from fer_attention.models.family import BACKBONES
from fer_attention.models.spec import ModelSpec

FORMAT = "fer_attention/1"


class WeightsError(ValueError):
    """A weights file that is absent, damaged, foreign or does not fit, or a model that cannot be saved."""


def save_weights(
    model: FERModel,
    path: str | os.PathLike[str],
    *,
    record: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a model's weights, spec, labels and preprocessing to one safetensors file.

    The file is written under a temporary name beside `path`, flushed to the disk, then renamed: whatever
    happens, `path` holds a whole file or what it held before.

    Args:
        model: A model of this library, with `labels` set.
        path: Where to; the folder must exist.
        record: Anything JSON can hold on the weights' origin: data, protocol, seed, results.
        dtype: Keep convolution and linear weights in this type; `torch.float16` halves the file.

    Raises:
        WeightsError: The model has no labels, no fitting preprocessing or no numbers, or its structure is
            no longer the one that its spec describes.
        FileNotFoundError: The folder does not exist.
    """
    labels = model.labels
    if labels is None or len(labels) != model.num_classes:
        raise WeightsError(
            f"The model has {model.num_classes} outputs and labels={labels}; set model.labels to their names."
        )
    if model.preprocessing is None or model.preprocessing.channels != model.in_chans:
        raise WeightsError(
            f"The model takes {model.in_chans} channels, its preprocessing is {model.preprocessing}; set "
            "model.preprocessing to how a crop becomes its input."
        )
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise WeightsError("The model is on the meta device: it has shapes, but no weights to save.")
    _check_structure(model)
    metadata = {
        "format": FORMAT,
        "spec": model.spec.to_json(),
        "labels": json.dumps(labels),
        "preprocessing": model.preprocessing.to_json(),
        "record": json.dumps(dict(record or {})),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if dtype is not None:
        tensors = {name: t.to(dtype) if t.ndim > 1 else t for name, t in tensors.items()}
    path = Path(path)
    write_atomically(path, serialise(tensors, metadata=metadata))
    return path


def load_weights(path: str | os.PathLike[str], *, device: torch.device | str | None = None) -> FERModel:
    """The model of a weights file, in evaluation mode and float32, however the file keeps it.

    Raises:
        WeightsError: The file is absent, truncated, not one of ours, or its tensors do not fit its spec; the
            message names what is wrong. No half-loaded model is ever given.
    """
    path = Path(path)
    metadata, tensors = _read(path)
    with _weights_errors(path, "its metadata cannot be used"):
        spec = ModelSpec.from_json(metadata["spec"])
        labels = json.loads(metadata["labels"])
        preprocessing = Preprocessing.from_json(metadata["preprocessing"])
        model: FERModel = BACKBONES[spec.backbone](spec, device="meta")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise WeightsError(f"{path}: its labels are no list of names: {labels!r}.")
    if len(labels) != model.num_classes:
        raise WeightsError(f"{path}: {len(labels)} labels for {model.num_classes} outputs.")
    _check_tensors(path, model, tensors)
    # copies: safetensors maps the file, and whoever writes into it later would write into the model
    own = {
        n: t.to(torch.float32 if t.is_floating_point() else t.dtype, copy=True) for n, t in tensors.items()
    }
    model.load_state_dict(own, assign=True)
    model.labels = tuple(labels)
    model.preprocessing = preprocessing
    return model.to(device or "cpu").eval()


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save_weights` was told of the weights' origin."""
    metadata = _read_metadata(Path(path))
    with _weights_errors(path, "its record cannot be used"):
        return dict(json.loads(metadata.get("record", "{}")))


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """The structure of a weights file, without reading the weights."""
    metadata = _read_metadata(Path(path))
    with _weights_errors(path, "its metadata cannot be used"):
        return ModelSpec.from_json(metadata["spec"])


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The emotions of a weights file in the order of its outputs, without reading the weights."""
    metadata = _read_metadata(Path(path))
    with _weights_errors(path, "its metadata cannot be used"):
        return tuple(json.loads(metadata["labels"]))


def read_preprocessing(path: str | os.PathLike[str]) -> Preprocessing:
    """How a weights file's model wants its input, without reading the weights."""
    metadata = _read_metadata(Path(path))
    with _weights_errors(path, "its metadata cannot be used"):
        return Preprocessing.from_json(metadata["preprocessing"])


@contextmanager
def _weights_errors(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Whatever a damaged file provokes inside becomes a WeightsError that names it."""
    try:
        yield
    except Exception as error:
        raise WeightsError(f"{path}: {what}: {type(error).__name__}: {error}") from error


def _read_metadata(path: Path) -> dict[str, str]:
    with _open(path) as file:
        return _metadata(path, file)


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    with _open(path) as file:
        metadata = _metadata(path, file)
        with _weights_errors(path, "its tensors cannot be read"):
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        return metadata, tensors


def _open(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"{path} does not exist or is no file.")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}.") from error


def _metadata(path: Path, file: Any) -> dict[str, str]:
    metadata: dict[str, str] = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} is a safetensors file, but not a weights file of this library: its format is "
            f"{metadata.get('format')!r}, expected {FORMAT!r}. For plain ImageNet weights see "
            "build_model(backbone_weights=...)."
        )
    return metadata


def _check_tensors(path: Path, model: FERModel, tensors: Mapping[str, torch.Tensor]) -> None:
    expected = {name: _kind(tensor) for name, tensor in model.state_dict().items()}
    found = {name: _kind(tensor) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise WeightsError(
                f"{path} does not fit its own spec {model.spec.name}: {name} is "
                f"{found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}."
            )


def _kind(tensor: torch.Tensor) -> str:
    return f"{'floating' if tensor.is_floating_point() else tensor.dtype} {tuple(tensor.shape)}"


def _check_structure(model: FERModel) -> None:
    rebuilt = BACKBONES[model.spec.backbone](model.spec, device="meta")
    before, after = _layers(rebuilt), _layers(model)
    if before != after:
        change = next(line for line in ndiff(before, after) if line[0] in "+-")
        raise WeightsError(
            f"The model no longer has the structure of its spec {model.spec.name}, from which it would be "
            f"rebuilt; first difference: {' '.join(change.split())}. Build the structure by name, or keep "
            "the state dict alone with safetensors.torch.save_file."
        )


def _layers(model: FERModel) -> list[str]:
    """What the model prints, but for `inplace`, which changes no result."""
    return re.sub(r"(, )?inplace=(True|False)", "", repr(model)).splitlines()
