"""A classifier: from the pixels of face crops to probabilities, whatever computes them."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fer_attention.preprocessing import Preprocessing

Pixels: TypeAlias = NDArray[np.uint8]
"""Face crops before normalisation: (N, channels, H, W)."""


@runtime_checkable
class Classifier(Protocol):
    """Anything that names the emotions of face crops: torch, ONNX Runtime, a server of your own.

    Attributes:
        labels: Emotions in the order of the probabilities.
        preprocessing: How a face in a photo becomes a crop.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing

    def probabilities(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float64]:
        """Probabilities (N, classes) of uint8 crops (N, channels, H, W); each row sums to 1.

        Args:
            crops: As `faces.cut_input` and `Preprocessing.prepare` give them; none is an empty answer.
            batch_size: Crops per pass.

        Raises:
            ValueError: The crops have another type or shape.
        """
        ...


def check_pixels(crops: Pixels, preprocessing: Preprocessing) -> None:
    """Refuse crops that a model does not take.

    Raises:
        ValueError: They are not uint8 (N, channels, H, W) of the model's size.
    """
    form = (preprocessing.channels, *preprocessing.size)
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != form:
        raise ValueError(
            f"Crops are uint8 (N, {', '.join(map(str, form))}); got {crops.dtype} {crops.shape}. "
            "Preprocessing.prepare() makes them of whole crops, faces.cut_input() of a face in a photo."
        )


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities (N, classes) of logits, float64; each row sums to 1."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=1, keepdims=True)
