"""Models of this library as classifiers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fer_attention.classifiers.base import Classifier, Pixels, check_pixels, softmax
from fer_attention.device import resolve_device
from fer_attention.inference import predict_logits
from fer_attention.models import FERModel
from fer_attention.models.metadata import ModelMetadata


class TorchClassifier:
    """A model that torch runs, with its labels and its preprocessing.

    Args:
        model: A model with labels and preprocessing, as `load_weights` gives it.
        device: Where to move it; None leaves it where it is.

    Raises:
        ValueError: The model lacks labels or preprocessing, or there is no such device.
    """

    def __init__(self, model: FERModel, *, device: str | torch.device | None = None) -> None:
        if model.labels is None or model.preprocessing is None:
            missing = "labels" if model.labels is None else "preprocessing"
            raise ValueError(f"The model lacks {missing}: set model.{missing}, or take load_weights().")
        self.labels, self.preprocessing = tuple(model.labels), model.preprocessing
        self.model = model if device is None else model.to(resolve_device(device))

    @property
    def metadata(self) -> ModelMetadata:
        """Structure, labels, preprocessing and origin of the model."""
        return ModelMetadata(self.model.spec, self.labels, self.preprocessing, self.model.record)

    @property
    def device(self) -> torch.device:
        """Device of the model's parameters."""
        return next(self.model.parameters()).device

    def probabilities(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float64]:
        """As `Classifier.probabilities`; the model is in evaluation mode meanwhile."""
        check_pixels(crops, self.preprocessing)
        parts = [torch.empty(0, len(self.labels))]
        for start in range(0, len(crops), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(crops[start : start + batch_size]))
            inputs = self.preprocessing.normalize(batch.to(self.device))
            parts.append(predict_logits(self.model, inputs, batch_size=batch_size))
        return softmax(torch.cat(parts).numpy())


def as_classifier(model: FERModel | Classifier, *, device: str | torch.device | None = None) -> Classifier:
    """Wrap a torch model; other classifiers pass through, and keep the device that they have chosen.

    Raises:
        ValueError: As in `TorchClassifier`.
    """
    return TorchClassifier(model, device=device) if isinstance(model, FERModel) else model
