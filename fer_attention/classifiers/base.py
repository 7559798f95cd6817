"""The `Classifier` protocol: from face crops to the probability of each emotion."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fer_attention.calibration import Calibration
from fer_attention.preprocessing import Preprocessing

Pixels: TypeAlias = NDArray[np.uint8]
"""Face crops before normalisation, (N, channels, H, W)."""


@runtime_checkable
class Classifier(Protocol):
    """Anything that classifies face crops: a PyTorch model, an ONNX file, a server of your own.

    >>> from fer_attention.classifiers import load_classifier
    >>> classifier = load_classifier(device="cpu")
    >>> isinstance(classifier, Classifier)
    True
    >>> classifier.probabilities(np.zeros((2, 1, 48, 48), dtype=np.uint8)).shape
    (2, 8)

    Attributes:
        labels: Emotions in the order of the probabilities.
        preprocessing: How a face in a photo becomes a crop.

    A classifier may also have a `calibration`, the rule for the candidates of a face.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing

    def probabilities(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float64]:
        """Compute the probabilities (N, classes) of uint8 crops (N, channels, H, W); each row sums to 1.

        Args:
            crops: Crops from `faces.cut_input` or `Preprocessing.prepare`; without any, the result is empty.
            batch_size: Crops per forward pass.

        Raises:
            ValueError: The crops have another type or shape.
        """
        ...


def calibration_of(classifier: Classifier) -> Calibration:
    """Return a classifier's calibration; one that has none is taken at face value."""
    found = getattr(classifier, "calibration", None)
    return found if isinstance(found, Calibration) else Calibration()


def softmax(logits: NDArray[np.floating[Any]], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Compute probabilities (N, classes), float64, from logits over a temperature; each row sums to 1."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf)
    shifted /= temperature
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=1, keepdims=True)
