"""Exported ONNX files as classifiers: ONNX Runtime and NumPy, no torch between crop and probabilities."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.classifiers.base import Pixels, check_pixels, softmax
from fer_attention.device import resolve_device
from fer_attention.models.metadata import ModelMetadata, WeightsError
from fer_attention.optional import needs_extra
from fer_attention.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

INPUT, OUTPUT = "crops", "logits"


class OnnxClassifier:
    """A file of `export_onnx` or `quantize_onnx`, ready to run.

    Attributes:
        path: The file.
        metadata: Structure, labels, preprocessing and origin of the model, as the file keeps them.
        labels: Class names in the order of the logits.
        preprocessing: How a face becomes a crop.
        session: ONNX Runtime's session.

    Args:
        path: The file.
        threads: Threads of one pass; None leaves it to ONNX Runtime: one per physical core.
        device: `"cpu"`, `"cuda"`, `"cuda:N"`, or `"auto"`: the GPU where there is one and an ONNX Runtime
            for it.

    Raises:
        WeightsError: There is no such file, it is no ONNX file or none of ours, its labels do not fit its
            outputs, or ONNX Runtime cannot run on the device.
        ValueError: Fewer threads than one, or a device that is not there.
        ImportError: onnxruntime is missing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads is at least 1, or None for ONNX Runtime's choice; got {threads}.")
        self.path = Path(path)
        self.session = _session(self.path, threads, device)
        strings = self.session.get_modelmeta().custom_metadata_map
        self.metadata = ModelMetadata.from_strings(strings, self.path)
        self.labels = self.metadata.labels
        self.preprocessing: Preprocessing = self.metadata.preprocessing
        self._check_interface()

    def _check_interface(self) -> None:
        form = self.preprocessing.channels, *self.preprocessing.size
        expected = [(INPUT, "tensor(uint8)", form)], [(OUTPUT, "tensor(float)", (len(self.labels),))]
        found = tuple(
            [(value.name, value.type, tuple(value.shape[1:])) for value in values]
            for values in (self.session.get_inputs(), self.session.get_outputs())
        )
        if found != expected:
            raise WeightsError(
                f"{self.path} does not fit its own metadata: inputs and outputs (name, type, shape without "
                f"the batch) are {found}, expected {expected} for its {len(self.labels)} labels."
            )

    @property
    def device(self) -> str:
        """Kind of device that it computes on, `cpu` or `cuda`."""
        return "cuda" if "CUDAExecutionProvider" in self.session.get_providers() else "cpu"

    def logits(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float32]:
        """Logits, float32 (N, classes), with the arguments and errors of `probabilities`."""
        check_pixels(crops, self.preprocessing)
        parts = [np.empty((0, len(self.labels)), np.float32)]
        for start in range(0, len(crops), batch_size):
            batch = np.ascontiguousarray(crops[start : start + batch_size])
            parts += self.session.run([OUTPUT], {INPUT: batch})
        return np.concatenate(parts)

    def probabilities(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float64]:
        """As `Classifier.probabilities`."""
        return softmax(self.logits(crops, batch_size=batch_size))


def _session(path: Path, threads: int | None, device: str | torch.device) -> Any:
    with needs_extra("export", "ONNX files run on ONNX Runtime"):
        import onnxruntime
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions; its log would only say them twice
    options.intra_op_num_threads = threads or 0
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot read it as an ONNX model: {reason}"
        ) from error
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if device != "auto" and wanted not in session.get_providers():  # it falls back to the CPU by itself
        raise WeightsError(f"device {str(device)!r}: ONNX Runtime cannot start its {wanted}. Take 'cpu'.")
    return session


def _providers(device: str | torch.device, available: list[str]) -> list[Any]:
    place = resolve_device(device)
    if place.type == "cuda" and "CUDAExecutionProvider" in available:
        return [("CUDAExecutionProvider", {"device_id": place.index or 0}), "CPUExecutionProvider"]
    if place.type == "cpu" or device == "auto":
        return ["CPUExecutionProvider"]
    raise WeightsError(
        f"device {str(device)!r} needs the package onnxruntime-gpu; this ONNX Runtime has only "
        f"{', '.join(available)}. Install it in place of onnxruntime, or take device='cpu' or 'auto'."
    )
