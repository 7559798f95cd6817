"""Open ONNX files in ONNX Runtime, for classifiers and face detectors alike."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fer_attention.device import resolve_device
from fer_attention.optional import needs_extra

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxSession:
    """An ONNX file in ONNX Runtime, ready to run.

    Threads may share it. It is pickled as its path, and a forked process opens the file again, since ONNX
    Runtime's threads do not survive a fork.

    Attributes:
        device: The torch device that it runs on.

    Args:
        path: The file.
        device: `"auto"` (the GPU if both torch and ONNX Runtime can use it, else the CPU), `"cpu"`, `"cuda"`
            or `"cuda:N"`.
        threads: CPU threads per run; 0 leaves the choice to ONNX Runtime, which takes one per physical core.
        extra: The extra of this package that installs ONNX Runtime, named if it is missing.

    Raises:
        FileNotFoundError: `path` is not a file.
        ValueError: The file is not an ONNX model, or the device cannot be used.
        ImportError: onnxruntime is missing.
    """

    def __init__(self, path: Path, device: str | torch.device, *, threads: int, extra: str) -> None:
        self._session, self.device = _open(path, device, threads=threads, extra=extra)
        self._again = partial(OnnxSession, path.absolute(), device, threads=threads, extra=extra)
        self._process = os.getpid()

    @property
    def session(self) -> InferenceSession:
        """The session of this process."""
        if self._process != os.getpid():
            self._session, self._process = self._again()._session, os.getpid()
        return self._session

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()


def _open(
    path: Path, device: str | torch.device, *, threads: int, extra: str
) -> tuple[InferenceSession, torch.device]:
    with needs_extra(extra, "ONNX models run on ONNX Runtime"):
        import onnxruntime
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file.")
    resolved, providers = choose_providers(device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions; its log would repeat them
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot read it as an ONNX model ({reason}). "
            "A PyTorch checkpoint (.pt) must be exported to ONNX first."
        ) from error
    if resolved.type == "cuda" and CUDA not in session.get_providers():
        if device != "auto":  # ONNX Runtime falls back to the CPU without an error
            raise ValueError(
                f"device {str(device)!r}: ONNX Runtime cannot start its {CUDA}. Install an onnxruntime-gpu "
                "that fits this CUDA and cuDNN, or choose the device 'cpu' or 'auto'."
            )
        resolved = torch.device("cpu")
    return session, resolved


def choose_providers(device: str | torch.device, available: Sequence[str]) -> tuple[torch.device, list[Any]]:
    """Resolve a device to a torch device and the ONNX Runtime providers that run on it."""
    resolved = resolve_device(device)
    if resolved.type == "cuda" and CUDA in available:
        return resolved, [(CUDA, {"device_id": resolved.index or 0}), CPU]
    if resolved.type == "cpu" or device == "auto":
        return torch.device("cpu"), [CPU]
    if resolved.type == "cuda":
        raise ValueError(
            f"device {str(device)!r} needs the package onnxruntime-gpu; this ONNX Runtime has only "
            f"{', '.join(available)}. Install it in place of onnxruntime, or choose 'cpu' or 'auto'."
        )
    raise ValueError(f"ONNX models run on cpu or cuda; got device {str(device)!r}.")
