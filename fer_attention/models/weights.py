"""Weights files: one safetensors file with the weights and the `ModelMetadata`. Nothing is unpickled."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import ndiff
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch.types import Device

from fer_attention.atomic import write_atomically
from fer_attention.bounded import bounded, cut
from fer_attention.models.base import FERModel
from fer_attention.models.bundled import bundled_path
from fer_attention.models.family import BACKBONES
from fer_attention.models.metadata import ModelMetadata, WeightsError
from fer_attention.models.state_dicts import StateDictError, check_values, kind_of, safetensors_reason
from fer_attention.registry import UnknownNameError

FLOATING = ("F64", "F32", "F16", "BF16")
INTEGERS = {
    "I64": "torch.int64",
    "I32": "torch.int32",
    "I16": "torch.int16",
    "I8": "torch.int8",
    "U8": "torch.uint8",
}
"""Names of types in safetensors headers."""


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
        WeightsError: The model lacks labels, matching preprocessing or weights, its structure has changed
            since it was built from its spec, or a weight is not finite or too large for `dtype`.
        FileNotFoundError: The folder does not exist.
    """
    metadata = ModelMetadata.of(model, record)
    _check_structure(model)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if dtype is not None:
        tensors = {name: t.to(dtype) if t.ndim > 1 else t for name, t in tensors.items()}
    try:
        check_values(tensors)
    except StateDictError as error:
        raise WeightsError(f"The model {error}") from error
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


def update_record(
    path: str | os.PathLike[str], entries: Mapping[str, Any], *, output: str | os.PathLike[str] | None = None
) -> Path:
    """Add entries to the record of a weights file, or replace them; the tensors stay bit for bit the same.

    >>> from tempfile import TemporaryDirectory
    >>> from fer_attention.models import bundled_path
    >>> with TemporaryDirectory() as folder:
    ...     source = bundled_path("resnetv2_18_eca_elu.ferplus")
    ...     path = update_record(source, {"note": "mine"}, output=f"{folder}/mine.safetensors")
    ...     read_metadata(path).record["note"]
    'mine'

    Args:
        path: The weights file.
        entries: JSON-serialisable entries by name.
        output: Path of the new file, written atomically; by default the file itself.

    Raises:
        WeightsError: The file is missing, damaged or from another library.
        FileNotFoundError: The folder of `output` does not exist.
    """
    path = Path(path)
    with _open(path) as file:
        metadata = ModelMetadata.from_strings(file.metadata() or {}, path)
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  (not a mapping)
    changed = replace(metadata, record={**metadata.record, **entries})
    target = path if output is None else Path(output)
    write_atomically(target, _in_order(serialise(tensors, metadata=changed.to_strings())))
    return target


def load_weights(path: str | os.PathLike[str], *, device: Device = None) -> FERModel:
    """Load a model from a weights file, in evaluation mode and float32.

    >>> from fer_attention.models import bundled_path
    >>> load_weights(bundled_path("resnetv2_18_eca_elu.ferplus")).labels[:2]
    ('neutral', 'happy')

    Raises:
        WeightsError: The file is missing, truncated or from another library, its record is not possible, its
            tensors do not fit its spec, or one is not finite; the message names the part. A model is never
            loaded partially.
    """
    path = Path(path)
    with _open(path) as file:
        metadata = _metadata(file, path)
        try:
            model: FERModel = BACKBONES[metadata.spec.backbone](metadata.spec, device="meta")
            found = {name: _kind(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118  (not a mapping)
            _check_tensors(path, model, found)
            tensors = {name: file.get_tensor(name) for name in found}
            check_values(tensors)
        except WeightsError:
            raise
        except StateDictError as error:
            raise WeightsError(f"{path} {error}") from error
        except Exception as error:  # a damaged file can cause any
            reason = cut(f"{type(error).__name__}: {error}", 300)
            raise WeightsError(f"{path}: its metadata or tensors cannot be used: {reason}") from error
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
        return _metadata(file, path)


def _metadata(file: Any, path: Path) -> ModelMetadata:
    """Read the metadata of an open file; an entry `{"as_in": NAME}` of its record is that of bundled weights.

    So a small model does not carry 250 kB of digests of images that a bundled one has seen, too.
    """
    metadata = ModelMetadata.from_strings(file.metadata() or {}, path)
    record = dict(metadata.record)
    for entry, value in metadata.record.items():
        if isinstance(value, dict) and list(value) == ["as_in"]:
            try:
                record[entry] = read_metadata(bundled_path(str(value["as_in"]))).record[entry]
            except (UnknownNameError, KeyError) as error:
                raise WeightsError(
                    f"{path} takes {entry} from the bundled weights {bounded(value['as_in'])}, which this "
                    "version does not have. Install the version of fer_attention that the file came with."
                ) from error
    return replace(metadata, record=record)


def _open(path: Path) -> Any:
    try:
        kind = kind_of(path)
    except StateDictError as error:
        raise WeightsError(f"{path} {error}") from error
    if kind == "torch":
        raise WeightsError(
            f"{path} is a PyTorch checkpoint, not a weights file of this library: it lacks labels and "
            f"preprocessing. Train from it with backbone_weights={path}."
        )
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a valid safetensors file: {safetensors_reason(error)}.") from error


def _check_tensors(path: Path, model: FERModel, found: Mapping[str, str]) -> None:
    """Compare the header of a file with the model of its spec, before a tensor is read."""
    expected = {name: _described(tensor) for name, tensor in model.state_dict().items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise WeightsError(
                f"{path} does not fit its own spec {model.spec.name}: {cut(name, 100)} is "
                f"{found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}."
            )


def _kind(part: Any) -> str:
    """Describe a tensor in a safetensors file by its entry in the header."""
    dtype = str(part.get_dtype())
    kind = "floating" if dtype in FLOATING else INTEGERS.get(dtype, dtype)
    return f"{kind} {tuple(part.get_shape())}"


def _described(tensor: torch.Tensor) -> str:
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
