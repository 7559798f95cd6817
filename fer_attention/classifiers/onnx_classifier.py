"""Exported ONNX files as classifiers: ONNX Runtime and NumPy, no torch between crop and probabilities."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_attention.classifiers.base import Pixels, softmax
from fer_attention.models.metadata import ModelMetadata, WeightsError
from fer_attention.onnx_session import OnnxSession

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession

INPUT, OUTPUT = "crops", "logits"


class OnnxClassifier:
    """An ONNX file from `export_onnx` or `quantize_onnx`, ready to run.

    >>> OnnxClassifier("model.onnx", threads=1).probabilities(crops)  # doctest: +SKIP

    Attributes:
        path: The file.
        metadata: Structure, labels, preprocessing and origin of the model, as stored in the file.
        labels: Emotions in the order of the logits.
        preprocessing: How a face in a photo becomes a crop.
        calibration: Temperature of the probabilities and rule for the candidates, as stored in the file.
        device: Where it computes.

    Args:
        path: The file.
        threads: CPU threads per forward pass; None leaves the choice to ONNX Runtime.
        device: `"cpu"`, `"cuda"`, `"cuda:N"`, or `"auto"`: the GPU if ONNX Runtime can use one.

    Raises:
        WeightsError: The file does not exist, is not an ONNX file of this library, has labels that do not fit
            its outputs, or cannot run on the device.
        ValueError: `threads` is below 1.
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
        try:
            self._opened = OnnxSession(self.path, device, threads=threads or 0, extra="export")
        except (FileNotFoundError, ValueError) as error:
            raise WeightsError(str(error)) from error
        self.device = self._opened.device
        strings = self.session.get_modelmeta().custom_metadata_map
        self.metadata = ModelMetadata.from_strings(strings, self.path)
        self.labels, self.preprocessing = self.metadata.labels, self.metadata.preprocessing
        self.calibration = self.metadata.calibration
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
    def session(self) -> InferenceSession:
        """The ONNX Runtime session of this process."""
        return self._opened.session

    def logits(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float32]:
        """Compute logits, float32 (N, classes), with the arguments and errors of `probabilities`."""
        self.preprocessing.check(crops)
        parts = [np.empty((0, len(self.labels)), np.float32)]
        for start in range(0, len(crops), batch_size):
            batch = np.ascontiguousarray(crops[start : start + batch_size])
            parts += self.session.run([OUTPUT], {INPUT: batch})
        return np.concatenate(parts)

    def probabilities(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float64]:
        """Compute probabilities as `Classifier.probabilities` does."""
        logits = self.logits(crops, batch_size=batch_size)
        return softmax(logits, temperature=self.calibration.temperature)
