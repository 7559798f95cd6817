"""Weights files: one safetensors file with the weights and the `ModelMetadata`. Nothing is unpickled."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from difflib import ndiff
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch.types import Device

from fer_attention.atomic import write_atomically
from fer_attention.models.base import FERModel
from fer_attention.models.family import BACKBONES
from fer_attention.models.metadata import ModelMetadata, WeightsError


def save_weights(
    model: FERModel,
    path: str | os.PathLike[str],
    *,
    record: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a model's weights, spec, labels and preprocessing to one safetensors file, atomically.

    >>> from tempfile import TemporaryDirectory
    >>> from fer_attention.models import create_model
    >>> with TemporaryDirectory() as folder:
    ...     path = save_weights(create_model("resnet18_eca", width=0.25), f"{folder}/mine.safetensors")
    ...     load_weights(path).spec.name
    'resnet18_eca'

    Args:
        model: A model of this library, with `labels` set.
        path: Path of the file; the folder must exist.
        record: Origin of the weights, JSON-serialisable: data, protocol, seed, results. None takes
            `model.record`, which comes from the file that the model was loaded from.
        dtype: Store convolution and linear weights in this type; `torch.float16` halves the file.

    Raises:
        WeightsError: The model lacks labels, matching preprocessing or weights, or its structure is no longer
            that of its spec.
        FileNotFoundError: The folder does not exist.
    """
    metadata = ModelMetadata.of(model, record)
    _check_structure(model)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if dtype is not None:
        tensors = {name: t.to(dtype) if t.ndim > 1 else t for name, t in tensors.items()}
    path = Path(path)
    write_atomically(path, _in_order(serialise(tensors, metadata=metadata.to_strings())))
    return path


def _in_order(content: bytes) -> bytes:
    """Sort the metadata in a safetensors file, so that equal models give equal files."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors start at multiples of eight bytes
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def load_weights(path: str | os.PathLike[str], *, device: Device = None) -> FERModel:
    """Load a model from a weights file, in evaluation mode and float32.

    >>> from fer_attention.models import bundled_path
    >>> load_weights(bundled_path("resnetv2_18_eca_elu.ferplus")).labels[:2]
    ('neutral', 'happy')

    Raises:
        WeightsError: The file is missing, truncated or from another library, or its tensors do not fit its
            spec; the message names the part. A model is never loaded partially.
    """
    path = Path(path)
    with _open(path) as file:
        metadata = ModelMetadata.from_strings(file.metadata() or {}, path)
        try:
            model: FERModel = BACKBONES[metadata.spec.backbone](metadata.spec, device="meta")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        except Exception as error:  # a damaged file can cause any
            reason = f"{type(error).__name__}: {error}"
            raise WeightsError(f"{path}: its metadata or tensors cannot be used: {reason}") from error
    _check_tensors(path, model, tensors)
    for name, tensor in tensors.items():  # copies: safetensors maps the file, which may be overwritten later
        tensors[name] = tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
    model.load_state_dict(tensors, assign=True)
    model.labels, model.preprocessing = metadata.labels, metadata.preprocessing
    model.record = metadata.record
    return model.to(device or "cpu").eval()


def read_metadata(path: str | os.PathLike[str]) -> ModelMetadata:
    """Read the structure, labels, preprocessing and record of a weights file without its weights.

    >>> from fer_attention.models import bundled_path
    >>> read_metadata(bundled_path("resnetv2_18_eca_elu.fer2013")).labels[0]
    'angry'

    Raises:
        WeightsError: The file is missing, damaged or from another library.
    """
    path = Path(path)
    with _open(path) as file:
        return ModelMetadata.from_strings(file.metadata() or {}, path)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a valid safetensors file: {error}.") from error


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
            f"The model no longer has the structure of its spec {model.spec.name}; first difference: "
            f"{' '.join(change.split())}. Build the structure by name, or save the state dict alone with "
            "safetensors.torch.save_file."
        )


def _layers(model: FERModel) -> list[str]:
    """Return the lines of the model's repr without `inplace`, which changes no result."""
    return re.sub(r"(, )?inplace=(True|False)", "", repr(model)).splitlines()
