"""State dicts in files of others: PyTorch checkpoints of any age and nesting, and safetensors files.

The content decides what a file is, not its name. No code in a file is run.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from fer_attention.bounded import bounded, cut

StateDict = dict[str, torch.Tensor]

MAX_HEADER = 10_000_000
"""Bytes of a safetensors header; that of the largest network of timm has 200,000."""

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
"""Names of averaged weights in a checkpoint; they come before others, as in timm."""

AGAIN = "Download or copy it again."
WEIGHTS_ALONE = "Where you trust it, save the weights alone: torch.save(model.state_dict(), FILE)."

USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params")

_STARTS = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the weights. Run `git lfs pull`, or download the file",
    ),
    (b"\x89HDF", "an HDF5 file, as Keras writes. Only PyTorch and safetensors files can be used"),
    (b"\x1f\x8b", "a gzip archive. Unpack it, and pass the file inside"),
    (b"\x93NUMPY", "a NumPy array. Only PyTorch and safetensors files can be used"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"T7\x00", "a Torch7 file of Lua. Only PyTorch and safetensors files can be used"),
)
_PLAIN_CLASSES: list[Any] = [
    argparse.Namespace,  # options of a training script
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]
"""Classes beside tensors that checkpoints contain and that hold values only."""


class StateDictError(ValueError):
    """A file does not have one state dict that can be read; the message does not name the file."""


def kind_of(path: Path) -> str:
    """Return "safetensors", "torch", or raise a StateDictError that says what the file is instead."""
    if os.path.isdir(path):
        raise StateDictError("is a folder. Pass the weights file in it.")
    if not os.path.isfile(path):  # unlike is_file(), False for a name that is too long
        raise StateDictError("is not a file.")
    try:
        with path.open("rb") as file:
            start, size = file.read(4096), path.stat().st_size
    except OSError as error:
        raise StateDictError(f"cannot be read: {error.strerror}.") from error
    if not start:
        raise StateDictError(f"is empty. {AGAIN}")
    for magic, description in _STARTS:
        if start.startswith(magic):
            raise StateDictError(f"is {description}.")
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise StateDictError(
            "is a web page, not weights. The link led to a page about the file: use its download link."
        )
    if start[8:9] == b"{" and len(start) > 8:
        return _checked_header(size, *struct.unpack("<Q", start[:8]))
    if start.startswith(b"PK"):
        return _checked_archive(path)
    if start[:1] == b"\x80":
        return "torch"
    if start[257:262] == b"ustar":
        raise StateDictError("is a tar archive. Unpack it, and pass the file inside.")
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):
        shown = " ".join(start[:80].decode().split())
        raise StateDictError(f"is a text file, not weights; it begins with {shown!r}.")
    raise StateDictError("is neither a PyTorch checkpoint nor a safetensors file.")


def _checked_header(size: int, header: int) -> str:
    if header > MAX_HEADER:
        raise StateDictError(f"has a safetensors header of {header} bytes; at most {MAX_HEADER} are read.")
    if header > size - 8:
        raise StateDictError(f"is a truncated safetensors file: its header is cut off. {AGAIN}")
    return "safetensors"


def _checked_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # the zipfile module raises many kinds on damaged archives
        raise StateDictError(f"is a truncated or damaged PyTorch checkpoint. {AGAIN}") from error
    names = {member.filename.partition("/")[2] for member in members}
    if "data.pkl" not in names:
        raise StateDictError("is a zip archive without PyTorch weights. If the weights are in it, unpack it.")
    if "constants.pkl" in names:
        raise StateDictError(
            "is a TorchScript program, not a state dict. Save torch.jit.load(FILE).state_dict() instead."
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise StateDictError(
            "is a compressed archive, which PyTorch does not write. Save the state dict again."
        )
    return "torch"


def read_state_dict(path: str | os.PathLike[str]) -> StateDict:
    """Read the one state dict of a file.

    A checkpoint may be nested (`{"net": …, "acc": 70}`, `state_dict`, `model`, …). Averaged weights (`ema`)
    come before others, as in timm. Code in a file is never run.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     torch.save({"net": {"module.fc.bias": torch.zeros(7)}, "acc": 70}, f"{folder}/old.t7")
    ...     list(read_state_dict(f"{folder}/old.t7"))
    ['module.fc.bias']

    Raises:
        StateDictError: The file is missing, damaged or of another kind, has no tensors or several state
            dicts, or a tensor has NaN or infinite values. The message says what it is and what to do.
    """
    path = Path(path)
    content = _read_safetensors(path) if kind_of(path) == "safetensors" else _unpickle(path)
    state = _the_state_dict(content)
    storages = {one.data_ptr(): one.nbytes() for one in (t.untyped_storage() for t in state.values())}
    if sum(storages.values()) > path.stat().st_size:
        raise StateDictError(f"describes tensors that are larger than the file. {AGAIN}")
    check_values(state)
    return state


def _read_safetensors(path: Path) -> StateDict:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except Exception as error:  # damaged files raise many kinds besides SafetensorError
        raise StateDictError(
            f"is a truncated or damaged safetensors file ({safetensors_reason(error)}). {AGAIN}"
        ) from error


def safetensors_reason(error: Exception) -> str:
    """Return the reason of an error of safetensors on one bounded line."""
    plain = str(error).removeprefix("Error while deserializing header: ").rstrip(".")
    return cut(" ".join(plain.split())) if isinstance(error, SafetensorError) else type(error).__name__


def _unpickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_PLAIN_CLASSES), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on other protocols of pickle
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, and suggests to trust the file
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise StateDictError(
                f"contains Python objects ({cut(found[1], 80)}), which are never loaded: they can run any "
                f"code. {WEIGHTS_ALONE}"
            ) from error
        if "Unsupported operand" in str(error):
            raise StateDictError(f"is a pickle that torch.save did not write. {WEIGHTS_ALONE}") from error
        raise StateDictError(f"is a truncated or damaged PyTorch checkpoint. {AGAIN}") from error


def _the_state_dict(content: Any) -> StateDict:
    """Find the one state dict in what a checkpoint holds.

    Raises:
        StateDictError: There is none, or there are several of which none has a usual name.
    """
    if isinstance(content, torch.Tensor):
        raise StateDictError(f"contains one tensor {tuple(content.shape)}, not a state dict.")
    found = dict(_candidates(content))
    if not found:
        inside = (
            f"; it has {', '.join(map(bounded, list(content)[:8]))}" if isinstance(content, Mapping) else ""
        )
        raise StateDictError(f"contains no state dict{inside}.")
    for name in (*AVERAGED, *USUAL):
        fitting = [path for path in found if name in path]
        if len(fitting) == 1:
            return found[fitting[0]]
    if len(found) > 1:
        names = ", ".join(cut(".".join(path) or "the file itself", 60) for path in list(found)[:6])
        raise StateDictError(f"contains {len(found)} state dicts: {names}. Save the wanted one alone.")
    return next(iter(found.values()))


def _candidates(
    value: Any, path: tuple[str, ...] = (), seen: set[int] | None = None
) -> Iterator[tuple[tuple[str, ...], StateDict]]:
    """Yield each mapping of names to tensors with its path, once, down to four levels; no optimiser's."""
    seen = set() if seen is None else seen
    optimiser = any(name.startswith("optim") for name in path)
    if not isinstance(value, Mapping) or len(path) > 4 or optimiser or id(value) in seen:
        return
    seen.add(id(value))
    tensors = {
        name: tensor
        for name, tensor in value.items()
        if isinstance(name, str) and isinstance(tensor, torch.Tensor) and not tensor.is_meta
    }
    others = {name: inner for name, inner in value.items() if isinstance(inner, Mapping) and inner}
    # a checkpoint may hold a tensor beside its state dicts, such as an accuracy
    if tensors and (not others or any("." in name for name in tensors)):
        yield path, tensors
    for name, inner in others.items():
        if isinstance(name, str):
            yield from _candidates(inner, (*path, name), seen)


def check_values(tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that all numbers are finite, and that no tensor is larger than its memory.

    Raises:
        StateDictError: One is not; the message names the tensor.
    """
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise StateDictError(f"has a sparse or quantised tensor, {cut(name, 100)}; only plain ones fit.")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise StateDictError(f"has a tensor that is larger than its data, {cut(name, 100)}.")
        if (tensor.is_floating_point() or tensor.is_complex()) and not _is_finite(tensor):
            raise StateDictError(f"has NaN or infinite values in {cut(name, 100)}: its training failed.")


def _is_finite(tensor: torch.Tensor) -> bool:
    wide = tensor.float() if tensor.element_size() < 2 else tensor  # torch cannot test types of eight bits
    return bool(torch.isfinite(wide).all())
