"""Models of this library as classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_attention.attention.base import inputs_are_watched
from fer_attention.classifiers.base import Classifier, Pixels, softmax
from fer_attention.classifiers.prepared import PreparedModel
from fer_attention.device import resolve_device
from fer_attention.inference import keep_forks_safe, predict_logits
from fer_attention.models import FERModel
from fer_attention.models.metadata import ModelMetadata


class TorchClassifier:
    """A PyTorch model as a classifier, with its labels and its preprocessing.

    In float32 on a CPU it runs a copy that was prepared for inference, with the same answers in less time.
    `model` itself stays as it is, to be trained, explained or hooked: a model with hooks runs itself, and
    after a change of weights or layers a new copy is made.

    >>> from fer_attention import create_model
    >>> classifier = TorchClassifier(create_model("resnet18", width=0.25))
    >>> classifier.probabilities(np.zeros((2, 1, 48, 48), dtype=np.uint8)).shape
    (2, 7)

    Attributes:
        model: The model.
        metadata: Structure, labels, preprocessing and origin of the model.
        labels: Emotions in the order of the logits.
        preprocessing: How a face in a photo becomes a crop.
        calibration: Temperature of the probabilities and rule for the candidates, from the model's record.

    Args:
        model: A model with labels and preprocessing, as `load_weights` returns it.
        device: Where to move the model; None leaves it where it is.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ValueError: The device does not exist.
    """

    def __init__(self, model: FERModel, *, device: str | torch.device | None = None) -> None:
        self.metadata = ModelMetadata.of(model)
        self.labels, self.preprocessing = self.metadata.labels, self.metadata.preprocessing
        self.calibration = self.metadata.calibration
        self.model = model if device is None else model.to(resolve_device(device))
        self._prepared: PreparedModel | None = None
        keep_forks_safe()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the copy, which cannot be pickled."""
        return self.__dict__ | {"_prepared": None}

    @property
    def device(self) -> torch.device:
        """Device of the model's parameters."""
        return next(self.model.parameters()).device

    def probabilities(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float64]:
        """Compute probabilities as `Classifier.probabilities` does, in evaluation mode."""
        self.preprocessing.check(crops)
        parts = [torch.empty(0, len(self.labels), dtype=torch.float32)]
        for start in range(0, len(crops), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(crops[start : start + batch_size]))
            inputs = self.preprocessing.normalize(batch.to(self.device))
            parts.append(self._logits(inputs))
        return softmax(torch.cat(parts).numpy(), temperature=self.calibration.temperature)

    @torch.inference_mode()
    def _logits(self, inputs: torch.Tensor) -> torch.Tensor:
        prepared = None if inputs_are_watched() else self._current_copy(inputs[:1])
        if prepared is None or prepared.graph is None:
            return predict_logits(self.model, inputs, batch_size=len(inputs))
        return prepared.logits(inputs)

    def _current_copy(self, example: torch.Tensor) -> PreparedModel | None:
        prepared = self._prepared  # other threads may replace it
        if prepared is None or not prepared.is_current():
            prepared = PreparedModel(self.model, example) if PreparedModel.suits(self.model) else None
            self._prepared = prepared
        return prepared


def as_classifier(model: FERModel | Classifier, *, device: str | torch.device | None = None) -> Classifier:
    """Wrap a PyTorch model as a classifier; any other classifier is returned as it is, on its own device.

    >>> from fer_attention import create_model
    >>> as_classifier(create_model("resnet18", width=0.25)).labels[0]
    'angry'

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ValueError: The device does not exist.
    """
    return TorchClassifier(model, device=device) if isinstance(model, FERModel) else model
