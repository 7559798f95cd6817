"""From a photo to expressions: detect, crop, normalise, classify."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image

from fer_attention.device import resolve_device
from fer_attention.evaluation import predict_logits
from fer_attention.export import OnnxModel, load_from_hub
from fer_attention.export.hub import PREFIX
from fer_attention.faces import Face, FaceDetector, ImageSource, create_detector
from fer_attention.faces.images import borrow_image
from fer_attention.models import FERModel, load_weights
from fer_attention.models.bundled import DEFAULT, weights_path


@dataclass(frozen=True)
class FacePrediction:
    """One face and how its expression is perceived.

    Attributes:
        face: Box, score and landmarks, in pixels of the upright photo.
        probabilities: One per emotion, in the order of the model's labels, summing to 1.
    """

    face: Face
    probabilities: Mapping[str, float]

    def __post_init__(self) -> None:
        total = sum(self.probabilities.values())
        if not self.probabilities or not math.isclose(total, 1, abs_tol=1e-3):
            raise ValueError(f"Probabilities sum to 1; got {dict(self.probabilities)}, sum {total:.4f}.")

    @property
    def label(self) -> str:
        """The most probable emotion."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """The probability of `label`."""
        return self.probabilities[self.label]

    def to_dict(self) -> dict[str, Any]:
        """A record for JSON: box, score, landmarks, emotion and probabilities, rounded for reading."""
        landmarks = self.face.landmarks
        return {
            "box": [round(value, 2) for value in self.face.box],
            "score": round(self.face.score, 4),
            "landmarks": None if landmarks is None else [[round(v, 2) for v in point] for point in landmarks],
            "emotion": self.label,
            "probabilities": {name: round(p, 4) for name, p in self.probabilities.items()},
        }


class EmotionRecognizer:
    """Finds the faces of photos and names their expressions.

    >>> import numpy as np
    >>> recognizer = EmotionRecognizer.from_pretrained(device="cpu")
    >>> recognizer.predict(np.zeros((64, 64, 3), dtype=np.uint8))  # no face: an empty list
    []

    Args:
        model: A trained model with its labels and preprocessing, or an exported one.
        detector: What finds the faces.
        device: Where the model runs; `"auto"` takes the GPU where there is one. An `OnnxModel` has chosen.
        batch_size: Faces per pass.

    Raises:
        ValueError: The model does not know its labels or its preprocessing.
    """

    def __init__(
        self,
        model: FERModel | OnnxModel,
        detector: FaceDetector,
        *,
        device: str | torch.device = "auto",
        batch_size: int = 64,
    ) -> None:
        if model.labels is None or model.preprocessing is None:
            raise ValueError("The model needs labels and preprocessing; load_weights() gives both.")
        self.labels = model.labels
        self.preprocessing = model.preprocessing
        self.model = model if isinstance(model, OnnxModel) else model.to(resolve_device(device)).eval()
        self.detector = detector
        self.batch_size = batch_size

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = DEFAULT,
        *,
        detector: str | FaceDetector = "mtcnn",
        device: str | torch.device = "auto",
        batch_size: int = 64,
        threads: int | None = None,
    ) -> EmotionRecognizer:
        """A recogniser that is ready to use; only a name of the Hugging Face Hub leads to a download.

        Args:
            weights: Bundled weights by name, the path of a weights file or of an exported `.onnx` file, or
                `hf-hub:user/name`.
            detector: A detector's name, or a detector of your own options (`create_detector`).
            device: Where detector and model run; `"auto"` takes the GPU where there is one.
            batch_size: Faces per pass.
            threads: Of ONNX Runtime, for an `.onnx` file; None leaves them to it.

        Raises:
            UnknownNameError: Neither a file nor bundled weights, or no such detector.
            WeightsError: The weights file cannot be used, or not be fetched.
            ExportError: The `.onnx` file cannot be used.
            ValueError: `threads` for weights that torch runs.
        """
        model = _load(weights, device, threads)
        if isinstance(detector, str):
            detector = create_detector(detector, device=device)
        return cls(model, detector, device=device, batch_size=batch_size)

    @overload
    def predict(self, photos: ImageSource) -> list[FacePrediction]: ...

    @overload
    def predict(self, photos: list[Any] | tuple[Any, ...]) -> list[list[FacePrediction]]: ...

    def predict(
        self, photos: ImageSource | list[Any] | tuple[Any, ...]
    ) -> list[FacePrediction] | list[list[FacePrediction]]:
        """The faces of a photo with their expressions, the largest face first; empty where there is none.

        Args:
            photos: A path, a PIL image, a uint8 RGB array (H, W, 3) or tensor (3, H, W); or a list of these.

        Returns:
            A list for one photo; for a list of photos a list of lists, in its order.

        Raises:
            ImageError: A photo cannot be read.
        """
        if isinstance(photos, (list, tuple)):
            return self._predict([borrow_image(photo) for photo in photos])
        return self._predict([borrow_image(photos)])[0]

    def _predict(self, images: Sequence[Image.Image]) -> list[list[FacePrediction]]:
        faces = self.detector.detect(images)
        pairs = [(image, face) for image, found in zip(images, faces, strict=True) for face in found]
        rows: Iterator[list[float]] = iter(self._probabilities(pairs) if pairs else ())
        return [
            [FacePrediction(face, dict(zip(self.labels, next(rows), strict=True))) for face in found]
            for found in faces
        ]

    def _probabilities(self, faces: Sequence[tuple[Image.Image, Face]]) -> list[list[float]]:
        """One row for each face in its photo."""
        model = self.model
        if isinstance(model, OnnxModel):
            pixels = np.stack([model.crop(image, face, self.detector) for image, face in faces])
            return model.probabilities(pixels, batch_size=self.batch_size).tolist()
        crops = [self.preprocessing.crop(image, face, self.detector) for image, face in faces]
        inputs = self.preprocessing.normalize(torch.stack(crops))
        return predict_logits(model, inputs, batch_size=self.batch_size).softmax(1).tolist()


def _load(weights: str | Path, device: str | torch.device, threads: int | None) -> FERModel | OnnxModel:
    """The model of a path or name, whatever runs it."""
    if Path(weights).suffix == ".onnx":
        return OnnxModel(weights, threads=threads, device=device)
    if threads is not None:
        raise ValueError("threads is for .onnx files; torch.set_num_threads() sets torch's.")
    if str(weights).startswith(PREFIX):
        return load_from_hub(str(weights))
    return load_weights(weights_path(weights))
