"""Models of this library as classifiers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fer_attention.classifiers.base import Classifier, Pixels, softmax
from fer_attention.device import resolve_device
from fer_attention.inference import keep_forks_safe, predict_logits
from fer_attention.models import FERModel
from fer_attention.models.metadata import ModelMetadata


class TorchClassifier:
    """A PyTorch model as a classifier, with its labels and its preprocessing.

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
        keep_forks_safe()

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
            parts.append(predict_logits(self.model, inputs, batch_size=batch_size))
        return softmax(torch.cat(parts).numpy(), temperature=self.calibration.temperature)


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
